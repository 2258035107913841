"""Policy folders: complete or refused, written whole or not at all, and loaded by stock LeRobot without a warning."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file, load_model, save_file

from reflow.policies import (
    find_folder,
    get_adapter,
    load_policy,
    load_processors,
    policy_types,
    replace_folder,
    save_policy,
    train_groups,
)
from reflow.policies.files import CONFIG, POSTPROCESSOR, PREPROCESSOR, VLM, WEIGHTS
from reflow.policies.smolvla import SmolVLAFlow
from tests.builders import make_batch, quiet
from tests.policies.editing import change, edit

NEEDED = (CONFIG, WEIGHTS, PREPROCESSOR, POSTPROCESSOR)


def chunk(policy: SmolVLAPolicy, seed: int = 0) -> torch.Tensor:
    """What a policy does with one made-up observation and one noise."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, policy.config.chunk_size, policy.config.max_action_dim, generator=generator)
    return policy.predict_action_chunk(make_batch(SmolVLAFlow(policy)), noise=noise)


# -- finding


def test_finds_a_complete_folder(teacher_folder, monkeypatch):
    monkeypatch.chdir(teacher_folder.parent)
    assert find_folder(teacher_folder) == find_folder(str(teacher_folder)) == teacher_folder
    assert find_folder(teacher_folder.name) == teacher_folder  # from where one stands, made absolute
    monkeypatch.setenv("HOME", str(teacher_folder.parent))
    assert find_folder(f"~/{teacher_folder.name}") == teacher_folder


@pytest.mark.parametrize("name", NEEDED)
def test_an_incomplete_folder_is_refused_by_the_name_of_what_lacks(copy, name):
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"^teacher.path=.* is incomplete: {name} missing; it needs"):
        find_folder(copy)


def test_an_empty_folder_lacks_everything_and_the_field_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=rf"policy.path=.* is incomplete: {', '.join(NEEDED)} missing"
    ):
        find_folder(tmp_path, "policy.path")


@pytest.mark.parametrize(
    "path", ["nobody/nothing", "nothing", "/not/there", "not/there/at/all", "no such/name"]
)
def test_what_is_neither_here_nor_on_the_hub_is_refused_at_once(path):
    start = time.monotonic()
    with pytest.raises(
        FileNotFoundError, match=rf"teacher.path={path} is neither a folder here.*give the path of"
    ):
        find_folder(path)
    assert time.monotonic() - start < 5


def test_a_file_is_no_folder(teacher_folder):
    with pytest.raises(FileNotFoundError, match="is neither a folder here"):
        find_folder(teacher_folder / CONFIG)


# -- loading


def test_loads_the_weights_that_are_there(teacher_folder):
    flow = load_policy(teacher_folder)
    assert isinstance(flow, SmolVLAFlow)
    assert not any(module.training for module in flow.modules())
    weights = load_file(teacher_folder / WEIGHTS)
    assert weights.keys() == dict(flow.policy.named_parameters()).keys()
    for name, parameter in flow.policy.named_parameters():
        assert torch.equal(parameter, weights[name]), name


def test_another_policy_type_is_refused(tmp_path):
    ACTConfig()._save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"policy type 'act' cannot be distilled: .*reflow distills .*smolvla"
    ):
        load_policy(tmp_path)


@pytest.mark.parametrize("policy_type", ["somebody_s", "", None])
def test_the_registry_knows_what_it_knows(policy_type):
    assert "smolvla" in policy_types()
    assert policy_type not in policy_types()
    assert get_adapter("smolvla") is SmolVLAFlow
    with pytest.raises(
        ValueError, match=rf"policy type {policy_type!r} has no adapter.*Point teacher.path to"
    ):
        get_adapter(policy_type)


def without(weights: dict[str, torch.Tensor]) -> None:
    del weights["model.action_in_proj.weight"]


def with_more(weights: dict[str, torch.Tensor]) -> None:
    weights["model.stray"] = torch.zeros(1)


def narrower(weights: dict[str, torch.Tensor]) -> None:
    weights["model.action_in_proj.weight"] = weights["model.action_in_proj.weight"][:, :-1].contiguous()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without, r"1 missing keys \['model.action_in_proj.weight'\], 0 unexpected keys"),
        (with_more, r"0 missing keys \[\], 1 unexpected keys \['model.stray'\]"),
        (narrower, r"size mismatch for model.action_in_proj.weight"),
    ],
)
def test_weights_that_do_not_fit_are_refused(copy, spoil, message):
    weights = load_file(copy / WEIGHTS)
    spoil(weights)
    save_file(weights, copy / WEIGHTS)
    with pytest.raises(
        ValueError, match=rf"{WEIGHTS} does not fit SmolVLAPolicy: .*{message}.*another LeRobot"
    ):
        load_policy(copy)


def test_half_a_weights_file_is_refused(copy):
    whole = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"does not fit SmolVLAPolicy: .*or not copied to its end"):
        load_policy(copy)


def test_a_policy_without_cache_is_refused(copy):
    edit(copy / CONFIG, use_cache=False)
    with pytest.raises(ValueError, match=r"use_cache=False in the policy's config.json"):
        load_policy(copy)


@pytest.mark.parametrize("name", ["/gone/smolvlm", "somebody/SmolVLM-of-the-hub"])
def test_a_vlm_that_is_not_to_be_had_is_named(copy, name):
    shutil.rmtree(copy / VLM)
    edit(copy / CONFIG, vlm_model_name=name)
    inside = copy / Path(name).name
    with pytest.raises(
        FileNotFoundError, match=rf"vlm_model_name={name}, which is neither a folder here.*into {inside}, or"
    ):
        load_policy(copy)


def test_a_moved_folder_still_loads(teacher_folder, tmp_path):
    home = Path(shutil.copytree(teacher_folder, tmp_path / "home"))
    flow = load_policy(home)
    save_policy(flow, home, tmp_path / "student")
    expected = chunk(flow.policy)
    moved = (tmp_path / "student").rename(tmp_path / "moved")
    shutil.rmtree(home)
    assert not Path(json.loads((moved / CONFIG).read_text())["vlm_model_name"]).exists()
    found = load_policy(find_folder(moved))
    assert torch.equal(chunk(found.policy), expected)
    preprocess, _ = load_processors(moved, found)
    assert "observation.language.tokens" in preprocess(
        {"observation.state": torch.zeros(1, 14), "task": ["go"]}
    )


# -- saving


def test_stock_lerobot_loads_what_is_saved_and_acts_the_same(teacher_folder, tmp_path, caplog):
    flow = load_policy(teacher_folder)
    train_groups(flow)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.01 * parameter.requires_grad)
    flow.num_steps = 1
    folder = save_policy(flow, teacher_folder, tmp_path / "student")
    assert sorted(file.name for file in folder.glob("*")) == sorted(
        file.name for file in teacher_folder.glob("*")
    )
    with quiet():
        stock = SmolVLAPolicy.from_pretrained(folder)
    assert not [record.message for record in caplog.records if "key" in record.message.lower()]
    missing, unexpected = load_model(stock, folder / WEIGHTS, strict=False)
    assert not missing
    assert not unexpected
    assert stock.config.num_steps == 1
    assert torch.equal(chunk(stock), chunk(flow.policy))
    assert not torch.equal(chunk(stock), chunk(load_policy(teacher_folder).policy))


def test_who_may_read_the_saved_folder_may_read_all_files_in_it(teacher_folder, tmp_path):
    before = os.umask(0o027)
    try:
        saved = save_policy(load_policy(teacher_folder), teacher_folder, tmp_path / "saved")
    finally:
        os.umask(before)
    files = [file for file in saved.rglob("*") if file.is_file()]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o640}


def test_the_saved_folder_stands_on_its_own(teacher_folder, tmp_path):
    """Its VLM is inside, named absolutely as stock LeRobot wants it, in the policy and in its tokenizer."""
    folder = save_policy(load_policy(teacher_folder), teacher_folder, tmp_path / "student")
    config = json.loads((folder / CONFIG).read_text())
    assert config["vlm_model_name"] == str(folder / VLM)
    assert config["pretrained_path"] is None
    steps = json.loads((folder / PREPROCESSOR).read_text())["steps"]
    (tokenizer,) = (step for step in steps if step["registry_name"] == "tokenizer_processor")
    assert tokenizer["config"]["tokenizer_name"] == str(folder / VLM)
    assert (folder / VLM / "tokenizer.json").is_file()


def test_the_device_written_is_the_source_s_own(copy, tmp_path):
    """A student distilled on the CPU from a teacher of a GPU is a policy for that GPU."""
    edit(copy / CONFIG, device="cuda")
    folder = save_policy(load_policy(copy), copy, tmp_path / "student")
    assert json.loads((folder / CONFIG).read_text())["device"] == "cuda"


@pytest.mark.parametrize("compiled", [True, False])
def test_whether_it_is_compiled_is_the_source_s_own_too(copy, tmp_path, compiled):
    """It is loaded uncompiled: a compiled sampler rounds in another order, and its chunk could not be compared."""
    edit(copy / CONFIG, compile_model=compiled)
    assert find_folder(copy) == copy
    flow = load_policy(copy)
    assert flow.config.compile_model is False
    assert not hasattr(flow.policy.model.sample_actions, "get_compiler_config")
    folder = save_policy(flow, copy, tmp_path / "student")
    assert json.loads((folder / CONFIG).read_text())["compile_model"] is compiled
    assert flow.config.compile_model is False


def test_a_source_that_says_nothing_of_it_adds_nothing(copy, tmp_path):
    def silent(content):
        del content["compile_model"], content["device"]

    change(copy / CONFIG, silent)
    folder = save_policy(load_policy(copy), copy, tmp_path / "student")
    config = json.loads((folder / CONFIG).read_text())
    assert (config["compile_model"], config["device"]) == (False, None)


def test_the_vlm_s_own_weights_stay_behind(copy, tmp_path):
    flow = load_policy(copy)
    (copy / VLM / "model.safetensors").write_bytes(b"many")
    (copy / VLM / "onnx").mkdir()
    (copy / VLM / "modeling_mine.py").write_text("code never runs, and is not handed on")
    folder = save_policy(flow, copy, tmp_path / "student")
    assert {file.name for file in (copy / VLM).iterdir()} - {
        file.name for file in (folder / VLM).iterdir()
    } == {
        "model.safetensors",
        "modeling_mine.py",
        "onnx",
    }


def test_a_hub_id_stays_a_hub_id(copy, tmp_path):
    flow = load_policy(copy)
    flow.config.vlm_model_name = "somebody/smolvlm"
    folder = save_policy(flow, copy, tmp_path / "student")
    assert json.loads((folder / CONFIG).read_text())["vlm_model_name"] == "somebody/smolvlm"
    assert not (folder / VLM).exists()


def test_a_policy_may_be_saved_over_its_own_folder(copy):
    flow = load_policy(copy)
    with torch.no_grad():
        flow.policy.model.action_in_proj.bias.add_(1.0)
    assert save_policy(flow, copy, copy) == copy
    assert torch.equal(
        load_policy(copy).policy.model.action_in_proj.bias, flow.policy.model.action_in_proj.bias
    )
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


# -- replacing

OLD, NEW = {"a": "old", "b": "old"}, {"a": "new", "b": "new", "sub/c": "new"}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def read(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_replacing_leaves_the_new_folder_alone(tmp_path):
    folder = tmp_path / "new" / "policy"
    for files in (OLD, NEW):
        replace_folder(folder, lambda staged, files=files: write(staged, files))
        assert read(folder) == files
        assert [path.name for path in folder.parent.iterdir()] == ["policy"]


def test_a_crash_while_filling_leaves_the_old_folder(tmp_path):
    folder = tmp_path / "policy"
    write(folder, OLD)

    def fill(staged: Path) -> None:
        write(staged, {"a": "new"})
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_folder(folder, fill)
    assert read(folder) == OLD
    replace_folder(folder, lambda staged: write(staged, NEW))  # what lay half-written is no hindrance
    assert read(folder) == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_a_crash_while_saving_leaves_the_old_policy(copy, monkeypatch):
    flow = load_policy(copy)
    before = chunk(flow.policy)
    with torch.no_grad():
        flow.policy.model.action_out_proj.bias.add_(1.0)
    monkeypatch.setattr(shutil, "copytree", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_policy(flow, copy, copy)
    monkeypatch.undo()
    assert torch.equal(chunk(load_policy(find_folder(copy)).policy), before)


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_while_filling(folder: Path) -> None:
    def fill(staged: Path) -> None:
        write(staged, {"a": "new"})
        kill_me()

    replace_folder(folder, fill)


def killed_at(call: str, number: int, after: bool) -> Callable[[Path], None]:
    """A process that is gone just before (or just after) the ``number``-th ``call``."""

    def run(folder: Path) -> None:
        owner = {"fsync": os, "rename": Path, "rmtree": shutil}[call]
        original, calls = getattr(owner, call), []

        def counted(*args: object, **kwargs: object) -> object:
            calls.append(args)
            if len(calls) == number and not after:
                kill_me()
            result = original(*args, **kwargs)
            if len(calls) == number and after:
                kill_me()
            return result

        setattr(owner, call, counted)
        replace_folder(folder, lambda staged: write(staged, NEW))

    return run


@pytest.mark.parametrize(
    ("victim", "left"),
    [
        (killed_while_filling, OLD),
        (killed_at("fsync", 2, after=False), OLD),
        (killed_at("rename", 1, after=False), OLD),
        (killed_at("rename", 1, after=True), None),
        (killed_at("rename", 2, after=True), NEW),
        (killed_at("rmtree", 3, after=False), NEW),
    ],
    ids=["filling", "flushing", "before the renames", "between the renames", "after them", "tidying up"],
)
def test_kill_9_never_leaves_half_a_folder(tmp_path, victim, left):
    folder = tmp_path / "policy"
    write(folder, OLD)
    process = multiprocessing.get_context("fork").Process(target=victim, args=(folder,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    if left is None:  # the one moment at which the old folder goes by another name
        assert not folder.exists()
        assert read(tmp_path / ".policy.old") == OLD
    else:
        assert read(folder) == left
    replace_folder(folder, lambda staged: write(staged, NEW))
    assert read(folder) == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]
