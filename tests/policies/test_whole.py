"""A file that is not whole is refused by its name before anything is loaded, and nothing is written."""

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

from reflow.policies import find_folder, load_policy, load_processors
from reflow.policies.files import ADAPTER, ADAPTER_CONFIG, CONFIG, POSTPROCESSOR, PREPROCESSOR, VLM, WEIGHTS
from tests.policies.editing import STATES, change, edit, snapshot, step

JSONS = (CONFIG, PREPROCESSOR, POSTPROCESSOR, f"{VLM}/config.json", f"{VLM}/tokenizer_config.json")
TENSORS = (WEIGHTS, STATES[PREPROCESSOR], STATES[POSTPROCESSOR])
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 7180208\n"


def refused(folder: Path, message: str, kind: type[Exception] = ValueError) -> None:
    """Refused with this message, with no file touched and none made."""
    before = snapshot(folder.parent)
    with pytest.raises(kind, match=message):
        find_folder(folder)
    assert snapshot(folder.parent) == before


@pytest.mark.parametrize("keep", [0, 0.5])
@pytest.mark.parametrize("name", JSONS)
def test_json_cut_short_is_named(copy, name, keep):
    text = (copy / name).read_text()
    (copy / name).write_text(text[: int(len(text) * keep)])
    refused(copy, rf"^{copy / name} is no JSON \(.*it may be cut short: make or copy it anew")


@pytest.mark.parametrize("keep", [0, 4, 0.5, -1])
@pytest.mark.parametrize("name", TENSORS)
def test_tensors_cut_short_are_named(copy, name, keep):
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    refused(copy, rf"^{copy / name} is no whole safetensors file \(.*cut short: copy or download it anew")


@pytest.mark.parametrize("name", [*JSONS, *TENSORS])
def test_a_git_lfs_pointer_is_named(copy, name):
    (copy / name).write_text(POINTER)
    refused(copy, rf"^{copy / name} is a git-lfs pointer, .*`git lfs pull` in {(copy / name).parent}, or")


@pytest.mark.parametrize("name", ["/gone/vlm", "elsewhere"])
def test_the_vlm_s_files_are_found_where_the_policy_finds_them(copy, tmp_path, name):
    """Inside where the named folder is gone; else where it is. Its weights are never read."""
    vlm = copy / VLM
    if name == "elsewhere":
        vlm = vlm.rename(tmp_path / name)
        name = str(vlm)
    edit(copy / CONFIG, vlm_model_name=name)
    (vlm / "model.safetensors").write_text(POINTER)
    assert find_folder(copy) == copy
    (vlm / "tokenizer.json").write_text(POINTER)
    refused(copy, rf"^{vlm / 'tokenizer.json'} is a git-lfs pointer")


@pytest.mark.parametrize("content", ["[]", "3", '"text"', "null"])
def test_json_of_another_kind_is_named(copy, content):
    (copy / CONFIG).write_text(content)
    refused(copy, rf"{CONFIG} holds no JSON object; copy the policy's folder anew")


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"steps": 3}', '{"steps": ["one"]}', '{"steps": [{"config": 3}]}']
)
@pytest.mark.parametrize("name", [PREPROCESSOR, POSTPROCESSOR])
def test_a_processor_without_steps_is_named(copy, name, content):
    (copy / name).write_text(content)
    refused(copy, rf'{name} holds no list of "steps"')


@pytest.mark.parametrize("name", [PREPROCESSOR, POSTPROCESSOR])
def test_missing_statistics_files_are_named(copy, name):
    (copy / STATES[name]).unlink()
    refused(
        copy,
        rf"{name}: step \d \(.*normalizer_processor\) keeps its state in {STATES[name]}, which is missing",
    )


@pytest.mark.parametrize("name", [PREPROCESSOR, POSTPROCESSOR])
def test_a_class_path_is_refused_before_it_is_imported(copy, name):
    change(copy / name, lambda content: content["steps"].insert(0, {"class": "evil.Step", "config": {}}))
    refused(copy, rf"{name}: step 0 names the class 'evil.Step'; only steps of LeRobot's registry")


def test_one_processor_alone_is_incomplete(copy):
    (copy / POSTPROCESSOR).unlink()
    refused(copy, rf"is incomplete: {POSTPROCESSOR} missing; .*--pretrained-path {copy}", FileNotFoundError)


def test_weights_that_lack_beside_an_adapter_that_is_off_are_explained(copy):
    (copy / WEIGHTS).rename(copy / ADAPTER)
    (copy / ADAPTER_CONFIG).write_text("{}")
    refused(copy, rf"{WEIGHTS} missing; .* if this is an adapter, set use_peft to true", FileNotFoundError)


@pytest.mark.parametrize("left", [ADAPTER, ADAPTER_CONFIG])
def test_half_the_files_of_an_adapter_are_incomplete(copy, left):
    edit(copy / CONFIG, use_peft=True)
    (copy / WEIGHTS).rename(copy / ADAPTER)
    (copy / ADAPTER_CONFIG).write_text("{}")
    other = ({ADAPTER, ADAPTER_CONFIG} - {left}).pop()
    (copy / other).unlink()
    refused(copy, rf"is incomplete: {other} missing; .*says use_peft: true", FileNotFoundError)


# -- steps


def add_step(folder: Path, name: str, registry_name: str, **config: object) -> None:
    change(
        folder / name,
        lambda content: content["steps"].insert(1, {"registry_name": registry_name, "config": config}),
    )


@pytest.mark.parametrize("name", [PREPROCESSOR, POSTPROCESSOR])
def test_a_step_that_nobody_registered_is_named_with_the_way_to_get_it(copy, name):
    add_step(copy, name, "my_step")
    version = importlib.metadata.version("lerobot")
    refused(
        copy,
        rf"^{copy / name}: step 1 is 'my_step', which LeRobot {version} does not know; install the package "
        r"that registers it \(LeRobot imports by itself .* a name like lerobot_policy_\*, .*installed here: none\)",
    )


def test_a_step_of_a_plugin_that_is_installed_is_found(copy, tmp_path, monkeypatch):
    """As LeRobot finds it: a distribution named lerobot_policy_*, which registers its steps when it is imported."""
    site = tmp_path / "site"
    (site / "lerobot_policy_mine").mkdir(parents=True)
    (site / "lerobot_policy_mine" / "__init__.py").write_text(
        "from dataclasses import dataclass\n"
        "from lerobot.processor import IdentityProcessorStep, ProcessorStepRegistry\n"
        "@ProcessorStepRegistry.register('step_of_a_plugin')\n"
        "@dataclass\n"
        "class Mine(IdentityProcessorStep):\n    pass\n"
    )
    (site / "lerobot_policy_mine-1.dist-info").mkdir()
    (site / "lerobot_policy_mine-1.dist-info" / "METADATA").write_text(
        "Name: lerobot_policy_mine\nVersion: 1\n"
    )
    add_step(copy, PREPROCESSOR, "step_of_a_plugin")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "lerobot_policy_mine", raising=False)
    from reflow.policies import stock

    stock.register_plugins.cache_clear()
    try:
        assert stock.plugins_installed() == ["lerobot_policy_mine"]
        assert find_folder(copy) == copy
        load_processors(copy, load_policy(copy))
    finally:
        stock.register_plugins.cache_clear()
        stock.ProcessorStepRegistry.unregister("step_of_a_plugin")


# -- actions of another kind


@pytest.mark.parametrize(
    ("name", "registry_name"),
    [(PREPROCESSOR, "relative_actions_processor"), (POSTPROCESSOR, "absolute_actions_processor")],
)
def test_relative_actions_are_refused_with_the_reason(copy, name, registry_name):
    add_step(copy, name, registry_name, enabled=True)
    refused(
        copy,
        rf"{name}: step 1 is '{registry_name}', enabled: actions relative to the state are not supported here "
        r"for policies of type smolvla \(LeRobot's smolvla has no use_relative_actions",
    )


def test_relative_actions_of_a_policy_that_has_them_are_refused_for_another_reason(copy):
    edit(copy / CONFIG, type="pi0")
    add_step(copy, PREPROCESSOR, "relative_actions_processor", enabled=True)
    refused(
        copy, r"for policies of type pi0 \(LeRobot adds to its chunk the state that its preprocessor saw last"
    )


def test_relative_actions_that_are_off_are_no_matter(copy):
    add_step(copy, PREPROCESSOR, "relative_actions_processor", enabled=False)
    assert find_folder(copy) == copy


@pytest.mark.parametrize(
    "registry_name", ["map_tensor_to_delta_action_dict", "map_delta_action_to_robot_action"]
)
def test_steps_of_teleoperation_are_refused(copy, registry_name):
    add_step(copy, POSTPROCESSOR, registry_name)
    refused(copy, rf"{POSTPROCESSOR}: step 1 is '{registry_name}', which makes of one action the deltas")


def test_delta_actions_that_lerobot_did_not_port_are_refused(copy):
    edit(copy / CONFIG, use_delta_joint_actions_aloha=True)
    refused(copy, rf"{CONFIG}: LeRobot .* refuses it \(.*use_delta_joint_actions_aloha.*not ported")


@pytest.mark.parametrize("changes", [{"chunk_size": "many"}, {"n_action_steps": 1000}, {"input_features": 3}])
def test_values_that_lerobot_refuses_are_refused_with_its_words(copy, changes):
    edit(copy / CONFIG, **changes)
    refused(copy, rf"^{copy / CONFIG}: LeRobot .* refuses it \(\w+: .*; correct what it names")


# -- what loads, and has to go on loading


@pytest.mark.parametrize("changes", [{"device": "cuda"}, {"num_steps": 3}, {"use_amp": True}])
def test_variants_that_lerobot_runs_are_left_as_they_are(copy, changes, capsys):
    edit(copy / CONFIG, **changes)
    assert find_folder(copy) == copy
    flow = load_policy(copy)
    assert flow.config.device == "cpu"
    assert flow.num_steps == changes.get("num_steps", 10)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_of_16_bits_load(copy, dtype):
    import torch

    from tests.policies.editing import change_weights

    change_weights(
        copy, lambda weights: {key: value.to(getattr(torch, dtype)) for key, value in weights.items()}
    )
    assert find_folder(copy) == copy
    flow = load_policy(copy)
    weight = flow.policy.model.action_in_proj.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, weight.to(getattr(torch, dtype)).float())


def test_the_saved_rename_map_is_read(copy):
    from reflow.policies import saved_rename

    assert saved_rename(copy) == {}
    change(
        copy / PREPROCESSOR,
        lambda content: step(content, "rename_observations_processor")["config"].update(
            rename_map={"a": "b"}
        ),
    )
    assert saved_rename(copy) == {"a": "b"}
    assert json.loads((copy / PREPROCESSOR).read_text())["steps"][0]["config"] == {"rename_map": {"a": "b"}}
