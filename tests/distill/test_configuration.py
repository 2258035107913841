"""Every YAML file composes and instantiates; fixes do what they say; what is misspelt is rejected."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import OmegaConf

from reflow.cli import ConfigurationError, build, build_with
from reflow.config import padding_name, run_directory
from reflow.config.train import check_settings
from reflow.config_path import CONFIG_DIR
from reflow.data import LeRobotDataModule
from reflow.distill.optim import OptimizerSettings
from reflow.objectives import (
    Consistency,
    Drifting,
    Endpoint,
    FlowMatching,
    MeanFlow,
    Mip,
    Reflow,
    Shortcut,
    SnapFlow,
)
from tests.distill.conftest import composed

ROOT = Path(CONFIG_DIR)


def group(name: str) -> list[str]:
    found = sorted(path.stem for path in (ROOT / name).glob("*.yaml"))
    assert found
    return found


@pytest.mark.parametrize("name", sorted({path.stem for path in ROOT.glob("*.yaml")} - {"base"}))
def test_every_entry_point_composes_and_has_a_value_for_every_key(name: str) -> None:
    missing = OmegaConf.missing_keys(composed(config_name=name))
    assert missing == ({"student.path"} if name in ("evaluate", "export") else set())


@pytest.mark.parametrize("name", group("experiment"))
def test_every_experiment_composes_and_opens_with_its_command(name: str) -> None:
    config = composed(f"+experiment={name}", "run_dir=x")
    check_settings(config)
    head = (ROOT / "experiment" / f"{name}.yaml").read_text().splitlines()[:4]
    assert any(f"python -m reflow.train +experiment={name}" in line for line in head)


@pytest.mark.parametrize("name", group("experiment"))
def test_every_experiments_callbacks_instantiate(name: str, tmp_path: Path) -> None:
    config = composed(f"+experiment={name}", f"run_dir={tmp_path}")
    assert all(hydra.utils.instantiate(entry) for entry in config.callbacks.values() if entry is not None)


@pytest.mark.parametrize("name", group("time"))
def test_every_time_sampler_instantiates(name: str) -> None:
    sampler = hydra.utils.instantiate(composed(f"time={name}").time)
    t = sampler(torch.tensor([0.1, 0.5, 0.9]))
    assert ((t > 0) & (t <= 1)).all()


@pytest.mark.parametrize("name", group("solver"))
def test_every_solver_instantiates(name: str) -> None:
    assert build(composed(f"solver={name}").solver).name == name


@pytest.mark.parametrize("name", group("teacher"))
def test_every_teacher_is_there(name: str) -> None:
    assert (build(composed(f"teacher={name}").teacher).folder / "config.json").is_file()


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("data=lerobot", LeRobotDataModule),
        ("objective=reflow", Reflow),
        ("objective=endpoint", Endpoint),
        ("objective=flow_matching", FlowMatching),
        ("objective=consistency", Consistency),
        ("objective=shortcut", Shortcut),
        ("objective=snapflow", SnapFlow),
        ("objective=mean_flow", MeanFlow),
        ("objective=mip", Mip),
        ("objective=drifting", Drifting),
    ],
)
def test_defaults_in_python_are_those_in_yaml(section: str, kind: type) -> None:
    config = composed(section)[section.partition("=")[0]]
    in_python = {
        name: entry.default
        for name, entry in inspect.signature(kind).parameters.items()
        if entry.default is not entry.empty and name in config
    }
    assert in_python
    in_yaml = {name: config[name] for name in in_python}
    assert in_python == {name: _built(value) for name, value in in_yaml.items()}


def _built(value: Any) -> Any:
    if isinstance(value, Mapping) and "_target_" in value:
        return hydra.utils.instantiate(value)
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


@pytest.mark.parametrize("name", group("logger"))
def test_every_logger_instantiates(name: str, tmp_path: Path) -> None:
    pytest.importorskip("wandb") if name == "wandb" else None
    config = composed(f"logger={name}", f"run_dir={tmp_path}")
    assert all(hydra.utils.instantiate(entry) for entry in config.logger.values())


@pytest.mark.parametrize("name", group("callbacks"))
def test_every_callback_instantiates(name: str, tmp_path: Path) -> None:
    config = composed(f"callbacks={name}", f"run_dir={tmp_path}")
    assert all(hydra.utils.instantiate(entry) for entry in config.callbacks.values() if entry is not None)


@pytest.mark.parametrize(
    ("section", "name"), [(s, n) for s in ("trainer", "data", "teacher", "objective") for n in group(s)]
)
def test_every_other_group_composes_within_the_schema(section: str, name: str) -> None:
    config = composed(f"{section}={name}", *(["callbacks.ema=null"] if name == "sharded" else []))
    check_settings(config)
    if section == "trainer":
        assert hydra.utils.instantiate(config.trainer).max_steps == config.trainer.max_steps


@pytest.mark.parametrize("name", group("launcher"))
def test_every_launcher_composes(name: str) -> None:
    with hydra.initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        config = hydra.compose("train", [f"+launcher={name}", "+fix=full32"], return_hydra_config=True)
    plugin = {"slurm": "submitit"}.get(name, name)
    assert plugin in config.hydra.launcher._target_


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (None, ("real", "real", "real", False)),
        ("+fix=keep_target", ("real", "full", "real", False)),
        ("+fix=full_loss", ("real", "real", "full", False)),
        ("+fix=full_noise", ("full", "real", "real", False)),
        ("+fix=full32", ("full", "full", "full", False)),
        ("+fix=valid14", ("real", "real", "real", True)),
        ("+fix=unfixed", ("real", "real", "real", False)),
        ("+fix=auto", ("auto", "auto", "auto", False)),
        ("+fix=[keep_target,full_noise]", ("full", "full", "real", False)),
    ],
)
def test_fixes_answer_the_three_questions(override: str | None, expected: tuple) -> None:
    padding = composed(*([override] if override else [])).padding
    assert (padding.noise, padding.target, padding.loss, padding.inert) == expected


@pytest.mark.parametrize("name", group("fix"))
def test_every_fix_shows_its_command_and_is_named(name: str) -> None:
    assert f"python -m reflow.train +fix={name}" in (ROOT / "fix" / f"{name}.yaml").read_text()
    assert padding_name(composed(f"+fix={name}")) == name


def test_an_unknown_fix_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigurationError, match=r"fix=ful32: there is no .*did you mean full32\? Allowed: auto, full32"
    ):
        composed("+fix=ful32")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "+paddding.noise=full",
            r"configuration key paddding.*did you mean padding\? Keys at the top: seed",
        ),
        (
            "+padding.tarjet=full",
            r"padding\.tarjet=full: there is no such key; did you mean target\? Keys of padding: noise",
        ),
        ("+data.batchsize=3", r"configuration key data\.batchsize=3.*did you mean batch_size"),
        ("data.batchsize=3", r"configuration key data\.batchsize=3.*did you mean batch_size"),
        ("+optimizer.learning_rate=3", r"configuration key optimizer\.learning_rate.*lr, betas"),
        ("data.batch_size=many", r"configuration key data\.batch_size=many.*not be converted to Integer"),
        ("trainer.max_stepps=3", r"configuration key trainer\.max_stepps"),
        ("student.train_state_proj=true", r"student\.train_state_proj=\.\.\. is now student\.trained"),
        ("simulator.env.type=pick", r"simulator\.env=\.\.\. is now env \(env=pick\)"),
        ("+env@simulator.env=pick", r"simulator\.env=\.\.\. is now env \(env=pick\)"),
        ("+env=pick", r"Multiple values for env: give it once, and without a plus .*\(env=pick\)"),
        ("objective=[1", r"Hydra reads its value otherwise"),
        ("padding.noise=none", r"padding\.noise=none; allowed: real or full"),
        ("padding.noise=auto", r"padding\.noise=auto; allowed: real or full, or auto for all three"),
        ("matmul_precision=low", r"matmul_precision=low; allowed: highest, high, medium"),
        ("student.num_steps=0", r"student\.num_steps=0; allowed: 1 or more"),
        ("data.val_frames=0", r"data\.val_frames=0"),
        ("data.batch_size=0", r"data\.batch_size=0"),
        ("seed=-1", r"seed=-1; allowed: 0 or more"),
        ("teacher.num_steps=0", r"teacher\.num_steps=0; allowed: 1 or more, or null"),
        ("teacher.path=somewhere", r"data\.repo_id is null.*data\.root=DIR"),
    ],
)
def test_misspelt_and_impossible_settings_are_rejected(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        check_settings(composed(override))


def test_a_misspelt_argument_of_a_target_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="max_stepps"):
        build(composed("+trainer.max_stepps=3").trainer)
    with pytest.raises(ConfigurationError, match=r"Trainer takes no max_stepps=3; did you mean max_steps\?"):
        build_with(composed("+trainer.max_stepps=3").trainer, logger=False)


def test_the_folder_is_a_function_of_the_configuration() -> None:
    def name(*overrides: str) -> str:
        return run_directory(composed(*overrides), list(overrides)).name

    assert name("+fix=full32") == "demo"
    assert name() == "demo-unfixed"
    assert name("+fix=valid14", "seed=2") == "demo-valid14-seed_2"
    assert name("seed=2", "+fix=valid14") == "demo-valid14-seed_2"
    assert name("+fix=[keep_target,full_noise]") == "demo-full_noise_keep_target"
    assert name("+fix=full32", "env=pick", "env.task=x", "simulator.episodes=3") == "demo"  # asked for later
    assert run_directory(composed("run_dir=a/b"), ["run_dir=a/b"]).parts[-2:] == ("a", "b")
    assert len({name("+fix=full32", f"seed={seed}") for seed in range(3)}) == 3


def test_a_folder_whose_name_no_file_system_takes_is_cut_and_is_still_one_per_configuration() -> None:
    lab = "/data/projects/robot_learning_lab/experiments/2025_11/bimanual_station_three/pick_and_place/" * 2

    def name(*overrides: str) -> str:
        return run_directory(composed("+fix=full32", *overrides), list(overrides)).name

    def long(data: str, *more: str) -> str:
        return name(
            f"teacher.path={lab}run_7/checkpoints/last/pretrained_model", f"data.root={lab}{data}", *more
        )

    assert len(long("set_3").encode()) <= 120
    assert long("set_3") == long("set_3")
    assert long("set_3").startswith("demo-data.root_pick_and_place_set_3-teacher.path_pick_and_place_run_7-")
    assert (
        len({long("set_3"), long("set_4"), long("set_3", "seed=1"), long("set_3", f"name={'n' * 300}")}) == 4
    )
    umlauts = [f"data.root='{lab}{chr(252) * 150}'"]
    assert len(name(*umlauts).encode()) <= 120
    assert len(name(f"name={'n' * 300}").encode()) <= 120
    middling = name(f"data.root=/{'a' * 200}")  # fits, and so is what it always was
    assert middling == f"demo-data.root__{'a' * 200}"


def test_optimizer_settings_override_the_preset_one_by_one() -> None:
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig

    policy = SmolVLAConfig(device="cpu")
    weight = torch.nn.Parameter(torch.zeros(2))
    preset = OptimizerSettings().build(policy, {"weight": weight}, 100)["optimizer"]
    assert preset.defaults["lr"] == policy.optimizer_lr
    assert preset.defaults["betas"] == policy.optimizer_betas
    changed = OptimizerSettings(lr=1e-2, betas=(0.5, 0.6)).build(policy, {"weight": weight}, 100)["optimizer"]
    assert (changed.defaults["lr"], changed.defaults["betas"]) == (1e-2, (0.5, 0.6))
    assert changed.defaults["eps"] == policy.optimizer_eps
    with pytest.raises(ValueError, match=r"optimizer\.lr is -1; allowed: above 0"):
        OptimizerSettings(lr=-1)


def test_the_resolved_configuration_round_trips() -> None:
    config = composed("+fix=full32", "run_dir=x")
    assert OmegaConf.create(OmegaConf.to_yaml(config, resolve=True)) == OmegaConf.create(
        OmegaConf.to_container(config, resolve=True)
    )


def test_a_cache_is_of_one_rule() -> None:
    check_settings(composed("+fix=full32", "pairs.path=somewhere"))
    with pytest.raises(
        ValueError, match=r"\+fix=auto with pairs\.path=somewhere: a cache is of one rule; give"
    ):
        check_settings(composed("+fix=auto", "pairs.path=somewhere"))


def test_where_pairs_come_from_gives_a_run_no_other_folder() -> None:
    live, cached = (["+fix=full32", "seed=1"], ["+fix=full32", "seed=1", "pairs.path=outputs/pairs/demo"])
    assert run_directory(composed(*live), live) == run_directory(composed(*cached), cached)
