"""A policy that is an adapter over a base: applied and merged, as LeRobot would run it, or refused by what lacks."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.policies.factory import make_policy as stock_make_policy
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file

from reflow.policies import find_folder, load_policy, load_processors, save_policy
from reflow.policies.files import ADAPTER, ADAPTER_CONFIG, CONFIG, PROCESSORS, VLM, WEIGHTS
from reflow.policies.smolvla import SmolVLAFlow
from tests import rounding
from tests.builders import make_batch, make_dataset, quiet, repo_id
from tests.policies.editing import STATES, change_tensors, change_weights, edit, snapshot

peft = pytest.importorskip("peft")

TARGETS = r"(model\.vlm_with_expert\.lm_expert\..*\.(q|v)_proj|model\.(state_proj|action_in_proj|action_time_mlp_in))"
UNREACHABLE = "/gone/base"


def make_adapter(base: Path, folder: Path, **settings: object) -> Path:
    """What lerobot-train leaves of a PEFT run over ``base``: adapter, configuration, processors, and no weights."""
    with quiet():
        policy = SmolVLAPolicy.from_pretrained(base)
    policy.config.pretrained_path = base
    settings = {"r": 4, "target_modules": TARGETS, "modules_to_save": ["action_out_proj"], **settings}
    adapted = policy.wrap_with_peft(peft.LoraConfig(**settings))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:  # a fresh adapter would change nothing
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    adapted.save_pretrained(folder)
    policy.config.save_pretrained(folder)
    for name in (*PROCESSORS, *STATES.values()):
        shutil.copy(base / name, folder / name)
    shutil.copytree(base / VLM, folder / VLM)
    return folder


@pytest.fixture(scope="module")
def adapter_of_the_teacher(teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(teacher_folder, tmp_path_factory.mktemp("adapter") / "pretrained_model")


@pytest.fixture
def adapter(adapter_of_the_teacher: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapter_of_the_teacher, tmp_path / "adapter"))


@pytest.fixture(scope="module")
def unmerged(adapter_of_the_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """What stock LeRobot does with the adapter: its own factory, nothing merged."""
    root = make_dataset(tmp_path_factory.mktemp("data") / "made", episodes=1, frames=2)
    config = PreTrainedConfig.from_pretrained(adapter_of_the_teacher)
    config.pretrained_path = adapter_of_the_teacher
    with quiet():
        policy = stock_make_policy(config, ds_meta=LeRobotDatasetMetadata(repo_id(root), root=root))
    assert isinstance(policy, peft.PeftModel)
    return chunk(policy.eval().get_base_model())


@torch.no_grad()
def chunk(policy: SmolVLAPolicy) -> torch.Tensor:
    """What a policy does with one made-up observation and one noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, policy.config.chunk_size, policy.config.max_action_dim, generator=generator)
    return policy.predict_action_chunk(make_batch(SmolVLAFlow(policy)), noise=noise)


def close(folder: Path, unmerged: torch.Tensor) -> bool:
    """Whether a policy does what the unmerged one does, but for the order in which its sums are rounded."""
    flow = load_policy(folder)
    # A merged layer sums once what the unmerged one sums in two: as two ways to compute the same velocity.
    bound = rounding.of_endpoint(flow, 32, flow.num_steps)
    return rounding.apart(chunk(flow.policy), unmerged) <= bound  # measured: 4e-7


def ordinary(folder: Path) -> None:
    """A folder that stock LeRobot loads whole, without PEFT."""
    assert json.loads((folder / CONFIG).read_text())["use_peft"] is False
    assert not {ADAPTER, ADAPTER_CONFIG} & {entry.name for entry in folder.iterdir()}
    with quiet():
        stock = SmolVLAPolicy.from_pretrained(folder, strict=True)
    assert torch.equal(chunk(stock), chunk(load_policy(folder).policy))


def test_the_adapter_alone_is_merged_with_the_base_that_it_names(adapter, unmerged, teacher_folder, capsys):
    before = snapshot(adapter)
    folder = find_folder(adapter)
    assert (
        f"{adapter / ADAPTER} is an adapter over {teacher_folder}: it was applied and merged"
        in capsys.readouterr().err
    )
    assert close(folder, unmerged)
    assert rounding.apart(chunk(load_policy(teacher_folder).policy), unmerged) > 0.05  # it does something
    ordinary(folder)
    load_processors(folder, load_policy(folder))
    assert snapshot(adapter) == before


def test_modules_that_were_trained_whole_are_taken_whole(adapter):
    """``modules_to_save``, as --peft.full_training_modules."""
    weights, saved = load_file(find_folder(adapter) / WEIGHTS), load_file(adapter / ADAPTER)
    key = "model.action_out_proj.weight"
    assert torch.equal(weights[key], saved[f"base_model.model.{key}"])


def test_the_student_is_an_ordinary_policy(adapter, unmerged, tmp_path):
    folder = find_folder(adapter)
    student = save_policy(load_policy(folder), folder, tmp_path / "student")
    assert find_folder(student) == student
    assert close(student, unmerged)
    ordinary(student)


@pytest.mark.parametrize("named", [UNREACHABLE, "me/base", None])
def test_the_weights_beside_are_the_base_where_the_named_one_is_not_to_be_had(
    adapter, unmerged, teacher_folder, named, capsys
):
    edit(adapter / ADAPTER_CONFIG, base_model_name_or_path=named)
    shutil.copy(teacher_folder / WEIGHTS, adapter / WEIGHTS)
    folder = find_folder(adapter)
    said = f"is an adapter over {WEIGHTS} beside it (base_model_name_or_path={named} is not to be had)"
    assert said in capsys.readouterr().err
    assert close(folder, unmerged)
    ordinary(folder)


def test_the_named_base_comes_before_the_weights_beside(adapter, unmerged, teacher_folder):
    """As LeRobot has it, which never reads those."""
    shutil.copy(teacher_folder / WEIGHTS, adapter / WEIGHTS)
    change_weights(adapter, lambda weights: {key: torch.zeros_like(value) for key, value in weights.items()})
    assert close(find_folder(adapter), unmerged)


def test_the_base_may_be_named_relative_to_the_adapter_or_to_where_one_stands(
    adapter, unmerged, teacher_folder, tmp_path, monkeypatch
):
    shutil.copytree(teacher_folder, tmp_path / "checkpoints" / "000100" / "pretrained_model")
    edit(adapter / ADAPTER_CONFIG, base_model_name_or_path="../checkpoints")
    assert close(find_folder(adapter), unmerged)
    monkeypatch.chdir(tmp_path)
    edit(adapter / ADAPTER_CONFIG, base_model_name_or_path="checkpoints/000100")
    assert close(find_folder(adapter), unmerged)


def test_another_base_is_another_policy(adapter, teacher_folder, tmp_path):
    base = Path(shutil.copytree(teacher_folder, tmp_path / "base"))
    edit(adapter / ADAPTER_CONFIG, base_model_name_or_path=str(base))
    first = find_folder(adapter)
    change_weights(
        base, lambda weights: weights | {"model.state_proj.bias": weights["model.state_proj.bias"] + 1}
    )
    assert find_folder(adapter) != first


def test_an_older_base_s_normalisation_is_left_out(adapter, unmerged, teacher_folder, tmp_path):
    base = Path(shutil.copytree(teacher_folder, tmp_path / "base"))
    change_weights(
        base,
        lambda weights: (
            weights | {"normalize_inputs.buffer_observation_state.mean": torch.full((14,), torch.inf)}
        ),
    )
    edit(adapter / ADAPTER_CONFIG, base_model_name_or_path=str(base))
    assert close(find_folder(adapter), unmerged)


def test_an_adapter_that_is_switched_off_is_said_and_not_applied(adapter, teacher_folder, capsys):
    shutil.copy(teacher_folder / WEIGHTS, adapter / WEIGHTS)
    edit(adapter / CONFIG, use_peft=False)
    assert find_folder(adapter) == adapter
    assert (
        f"warning: {adapter / ADAPTER} is not applied: {CONFIG} says use_peft: false"
        in capsys.readouterr().err
    )


# -- refused


def refused(folder: Path, message: str, kind: type[Exception] = ValueError) -> None:
    before = snapshot(folder.parent)
    with pytest.raises(kind, match=message):
        find_folder(folder)
    assert snapshot(folder.parent) == before


@pytest.mark.parametrize("named", [UNREACHABLE, "me/base", None])
def test_a_base_that_is_not_to_be_had_is_named_with_the_ways_out(adapter, named):
    edit(adapter / ADAPTER_CONFIG, base_model_name_or_path=named)
    refused(
        adapter,
        rf"^{adapter / ADAPTER_CONFIG} names base_model_name_or_path={named}, which is neither .*set "
        rf"base_model_name_or_path to the base's .*, or put the base's {WEIGHTS} beside the adapter",
        FileNotFoundError,
    )


@pytest.mark.parametrize(("gone", "left"), [("lora_A", "lora_B"), ("lora_B", "lora_A")])
def test_half_an_adapter_is_refused(adapter, gone, left):
    change_tensors(
        adapter / ADAPTER,
        lambda tensors: {
            key: value for key, value in tensors.items() if not ("state_proj" in key and gone in key)
        },
    )
    refused(
        adapter,
        rf"{ADAPTER} holds 1 tensors {left} without their {gone}, e.g. base_model\.model\.model\.state",
    )


def test_an_adapter_for_no_layer_is_refused(adapter):
    edit(adapter / ADAPTER_CONFIG, target_modules=None)
    refused(adapter, rf"{ADAPTER_CONFIG} names no target_modules")


def without_state_proj(tensors):
    return {key: value for key, value in tensors.items() if "state_proj" not in key}


def with_a_stray(tensors):
    stray = {f"base_model.model.model.stray.lora_{which}.weight": torch.zeros(4, 4) for which in "AB"}
    return tensors | stray


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            without_state_proj,
            r"2 missing keys \['base_model.model.model.state_proj.lora_A.weight'.*0 unexpected",
        ),
        (with_a_stray, r"0 missing keys \[\], 2 unexpected keys \['base_model.model.model.stray"),
    ],
)
def test_an_adapter_that_its_configuration_does_not_describe_is_refused(adapter, how, message):
    change_tensors(adapter / ADAPTER, how)
    refused(adapter, rf"{ADAPTER} is not the adapter that {ADAPTER_CONFIG} describes: {message}")


@pytest.mark.parametrize(
    "changes",
    [{"target_modules": ["nowhere"]}, {"r": 5}, {"peft_type": "NONE_SUCH"}, {"peft_type": "PROMPT_TUNING"}],
)
def test_what_peft_itself_refuses_is_refused_with_its_words(adapter, changes):
    edit(adapter / ADAPTER_CONFIG, **changes)
    refused(adapter, rf"{ADAPTER} cannot be applied to .*{WEIGHTS} \(\w+: .*; is it an adapter for this base")


def test_a_base_of_another_size_is_refused(adapter, teacher_folder, tmp_path):
    base = Path(shutil.copytree(teacher_folder, tmp_path / "base"))
    change_weights(base, lambda weights: {k: v for k, v in weights.items() if "state_proj" not in k})
    edit(adapter / ADAPTER_CONFIG, base_model_name_or_path=str(base))
    refused(adapter, r"the base of the adapter in .*, does not fit SmolVLAPolicy: 2 missing keys")
    change_weights(base, lambda weights: weights | {"model.state_proj.weight": torch.zeros(3, 3)})
    refused(adapter, r"does not fit SmolVLAPolicy: .*size mismatch for model.state_proj.weight")


def test_settings_that_are_none_are_named(adapter):
    (adapter / ADAPTER_CONFIG).write_text("[]")
    refused(adapter, rf"{ADAPTER_CONFIG} holds no JSON object")


def test_a_peft_that_does_not_import_is_said(adapter, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: True)
    monkeypatch.setitem(sys.modules, "peft", None)
    refused(adapter, r"peft, which is installed but does not import .*pip install -U", ModuleNotFoundError)


def test_a_policy_that_reflow_cannot_distill_is_not_merged(adapter):
    edit(adapter / CONFIG, type="somebody_s")
    refused(adapter, r"policy type 'somebody_s' has no adapter")


def test_a_base_cut_short_is_named(adapter, teacher_folder, tmp_path):
    base = Path(shutil.copytree(teacher_folder, tmp_path / "base"))
    (base / WEIGHTS).write_bytes((base / WEIGHTS).read_bytes()[:-7])
    edit(adapter / ADAPTER_CONFIG, base_model_name_or_path=str(base))
    refused(adapter, rf"{base / WEIGHTS} is no whole safetensors file")


def test_without_peft_it_is_said_what_to_install(adapter, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else found(name, *rest)
    )
    refused(
        adapter,
        r"needs the package peft, which is not installed: pip install 'reflow\[peft\]'",
        ModuleNotFoundError,
    )
