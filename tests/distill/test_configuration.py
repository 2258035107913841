"""Every YAML file composes and instantiates; fixes do what they say; what is misspelt is rejected."""

from pathlib import Path

import hydra
import pytest
import torch
from hydra.errors import ConfigCompositionException, InstantiationException
from omegaconf import OmegaConf

from reflow.config import check_settings, padding_name, run_directory
from reflow.config_path import CONFIG_DIR
from reflow.distill.optim import OptimizerSettings
from reflow.flow import get_solver
from tests.distill.conftest import composed

ROOT = Path(CONFIG_DIR)


def group(name: str) -> list[str]:
    found = sorted(path.stem for path in (ROOT / name).glob("*.yaml"))
    assert found
    return found


@pytest.mark.parametrize("name", sorted(path.stem for path in ROOT.glob("*.yaml")))
def test_every_entry_point_composes(name: str) -> None:
    assert composed(config_name=name)


@pytest.mark.parametrize("name", group("experiment"))
def test_every_experiment_composes_and_opens_with_its_command(name: str) -> None:
    config = composed(f"+experiment={name}", "run_dir=x")
    check_settings(config)
    head = (ROOT / "experiment" / f"{name}.yaml").read_text().splitlines()[:4]
    assert any(f"python -m reflow.train +experiment={name}" in line for line in head)


@pytest.mark.parametrize("name", group("experiment"))
def test_every_experiments_callbacks_instantiate(name: str, tmp_path: Path) -> None:
    config = composed(f"+experiment={name}", f"run_dir={tmp_path}")
    assert all(hydra.utils.instantiate(entry) for entry in config.callbacks.values())


@pytest.mark.parametrize("name", group("time"))
def test_every_time_sampler_instantiates(name: str) -> None:
    sampler = hydra.utils.instantiate(composed(f"time={name}").time)
    t = sampler(torch.tensor([0.1, 0.5, 0.9]))
    assert ((t > 0) & (t <= 1)).all()


@pytest.mark.parametrize("name", group("solver"))
def test_every_solver_is_known(name: str) -> None:
    assert get_solver(composed(f"solver={name}").solver.name).name == name


@pytest.mark.parametrize("name", group("logger"))
def test_every_logger_instantiates(name: str, tmp_path: Path) -> None:
    pytest.importorskip("wandb") if name == "wandb" else None
    config = composed(f"logger={name}", f"run_dir={tmp_path}")
    assert all(hydra.utils.instantiate(entry) for entry in config.logger.values())


@pytest.mark.parametrize("name", group("callbacks"))
def test_every_callback_instantiates(name: str, tmp_path: Path) -> None:
    config = composed(f"callbacks={name}", f"run_dir={tmp_path}")
    assert all(hydra.utils.instantiate(entry) for entry in config.callbacks.values())


@pytest.mark.parametrize(
    ("section", "name"), [(s, n) for s in ("trainer", "data", "teacher", "objective") for n in group(s)]
)
def test_every_other_group_composes_within_the_schema(section: str, name: str) -> None:
    config = composed(f"{section}={name}")
    check_settings(config)
    if section == "trainer":
        assert hydra.utils.instantiate(config.trainer).max_steps == config.trainer.max_steps


@pytest.mark.parametrize("name", group("launcher"))
def test_every_launcher_composes(name: str) -> None:
    with hydra.initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        config = hydra.compose("train", [f"+launcher={name}", "+fix=full32"], return_hydra_config=True)
    assert "submitit" in config.hydra.launcher._target_


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
    with pytest.raises(ConfigCompositionException) as error:
        composed("+fix=ful32")
    assert "full32" in str(error.value.__cause__) + str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+paddding.noise=full", r"configuration key paddding.*Keys at the top: name, run_dir"),
        ("+padding.tarjet=full", r"configuration key padding\.tarjet.*noise, target, loss, inert"),
        ("+data.batchsize=3", r"configuration key data\.batchsize.*batch_size"),
        ("+optimizer.learning_rate=3", r"configuration key optimizer\.learning_rate.*lr, betas"),
        ("data.batch_size=many", r"configuration key data\.batch_size.*many"),
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
    with pytest.raises(InstantiationException, match="max_stepps"):
        hydra.utils.instantiate(composed("+trainer.max_stepps=3").trainer)


def test_the_folder_is_a_function_of_the_configuration() -> None:
    def name(*overrides: str) -> str:
        return run_directory(composed(*overrides), list(overrides)).name

    assert name("+fix=full32") == "demo"
    assert name() == "demo-unfixed"
    assert name("+fix=valid14", "seed=2") == "demo-valid14-seed_2"
    assert name("seed=2", "+fix=valid14") == "demo-valid14-seed_2"
    assert name("+fix=[keep_target,full_noise]") == "demo-full_noise_keep_target"
    assert run_directory(composed("run_dir=a/b"), ["run_dir=a/b"]).parts[-2:] == ("a", "b")
    assert len({name("+fix=full32", f"seed={seed}") for seed in range(3)}) == 3


def test_optimizer_settings_override_the_preset_one_by_one() -> None:
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig

    policy = SmolVLAConfig(device="cpu")
    weight = torch.nn.Parameter(torch.zeros(2))
    preset = OptimizerSettings().build(policy, [weight], 100)["optimizer"]
    assert preset.defaults["lr"] == policy.optimizer_lr
    assert preset.defaults["betas"] == policy.optimizer_betas
    changed = OptimizerSettings(lr=1e-2, betas=(0.5, 0.6)).build(policy, [weight], 100)["optimizer"]
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
