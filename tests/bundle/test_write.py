"""What a bundle's folder holds: everything, in the precision and steps that were asked for."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reflow.bundle.observations import Tried, drawn
from reflow.bundle.proof import acts
from reflow.bundle.write import EXPORT, Asked, computed_in, take_steps, write_bundle
from reflow.errors import MissingFileError, UserError
from reflow.policies import load_policy, load_processors, merge_lora, with_lora
from reflow.policies.files import CONFIG, PREPROCESSOR, WEIGHTS
from reflow.policies.offline import without_hub
from reflow.policies.rounding import apart

HUB = "somebody/small-vlm"


def dtypes(folder: Path) -> set[torch.dtype]:
    return {tensor.dtype for tensor in load_file(folder / WEIGHTS).values() if tensor.is_floating_point()}


def test_it_is_whole_and_names_its_own_place(student_folder: Path, tmp_path: Path) -> None:
    folder = write_bundle(load_policy(student_folder), student_folder, Asked(tmp_path / "bundle"))
    there = {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()}
    assert there == {file.relative_to(student_folder) for file in student_folder.rglob("*") if file.is_file()}
    assert json.loads((folder / CONFIG).read_text())["vlm_model_name"] == str(folder / "vlm")
    assert (folder / WEIGHTS).read_bytes() == (student_folder / WEIGHTS).read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]  # nothing is left of the making


def test_relative_paths(student_folder: Path, tmp_path: Path) -> None:
    folder = write_bundle(
        load_policy(student_folder), student_folder, Asked(tmp_path / "bundle", relative=True)
    )
    assert json.loads((folder / CONFIG).read_text())["vlm_model_name"] == "./vlm"
    assert str(tmp_path) not in (folder / CONFIG).read_text() + (folder / PREPROCESSOR).read_text()
    load_policy(folder)  # reflow itself looks inside


@pytest.mark.parametrize(
    ("precision", "kind"),
    [("bfloat16", torch.bfloat16), ("float16", torch.float16), ("float32", torch.float32)],
)
def test_precision(
    student_folder: Path, tried: Tried, tmp_path: Path, precision: str, kind: torch.dtype
) -> None:
    flow = load_policy(student_folder)
    folder = write_bundle(flow, student_folder, Asked(tmp_path / "bundle", precision))
    assert dtypes(folder) == {kind}
    again = load_policy(folder)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}  # LeRobot's class copies
    wanted = load_file(student_folder / WEIGHTS)
    for name, tensor in load_file(folder / WEIGHTS).items():
        assert torch.equal(tensor, wanted[name].to(kind))
    one, two = (acts(policy, load_processors(student_folder, flow)[0], tried) for policy in (flow, again))
    errors = [apart(a, b) for a, b in zip(one, two, strict=True)]
    assert (
        all(error == 0 for error in errors) if kind == torch.float32 else all(error > 0 for error in errors)
    )


def test_a_value_that_does_not_fit_is_named(student_folder: Path, tmp_path: Path) -> None:
    flow = load_policy(student_folder)
    flow.policy.model.action_in_proj.weight.data[0, 0] = 7e4
    with pytest.raises(
        UserError, match=r"precision=float16: model\.action_in_proj\.weight holds values up to 7e\+04"
    ):
        write_bundle(flow, student_folder, Asked(tmp_path / "bundle", "float16"))
    assert list(tmp_path.iterdir()) == []


def test_steps(student_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flow = load_policy(student_folder)
    take_steps(flow, 2)
    take_steps(flow, None)
    assert capsys.readouterr().err == ""
    take_steps(flow, 5)
    assert (
        "note: num_steps=5, and the policy has 2: a student is good at the steps" in capsys.readouterr().err
    )
    folder = write_bundle(flow, student_folder, Asked(tmp_path / "bundle"))
    assert load_policy(folder).num_steps == 5


def test_additions_are_merged(student_folder: Path, tmp_path: Path) -> None:
    teacher, student = load_policy(student_folder), load_policy(student_folder)
    student = with_lora(student, teacher, 1)
    for name, parameter in student.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(generator=torch.Generator().manual_seed(0))
    folder = write_bundle(student, student_folder, Asked(tmp_path / "bundle"))
    weights, before = load_file(folder / WEIGHTS), load_file(student_folder / WEIGHTS)
    assert weights.keys() == before.keys()
    assert any(not torch.equal(weights[name], before[name]) for name in weights)
    merge_lora(student)
    kept = dict(student.policy.named_parameters())
    assert all(torch.equal(weights[name], kept[name]) for name in weights if name in kept)


def test_what_is_refused(student_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="precision=int4; allowed: float32, bfloat16, float16, or null"):
        Asked(tmp_path, "int4")
    with pytest.raises(UserError, match="num_steps=0; allowed: 1 or more"):
        Asked(tmp_path, num_steps=0)
    with pytest.raises(UserError, match=rf"is there, and is no bundle of this command \(no {EXPORT} in it\)"):
        Asked(student_folder).check_free()
    (tmp_path / EXPORT).write_text("{}")
    Asked(tmp_path).check_free()
    Asked(tmp_path / "new").check_free()


def test_a_class_that_computes_in_its_weights_precision_is_told_it(
    student_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = load_policy(student_folder)
    assert computed_in(flow, Asked(tmp_path, "bfloat16"), student_folder) is None  # SmolVLA's does not
    copy = Path(shutil.copytree(student_folder, tmp_path / "copy"))
    config = json.loads((copy / CONFIG).read_text()) | {"dtype": "bfloat16"}
    (copy / CONFIG).write_text(json.dumps(config))
    monkeypatch.setattr(type(flow.config), "dtype", "float32", raising=False)  # as pi0's has one
    assert computed_in(flow, Asked(tmp_path), copy) == "bfloat16"
    assert computed_in(flow, Asked(tmp_path, "float32"), copy) == "float32"
    with pytest.raises(
        UserError, match=r"precision=float16; allowed for a policy of type smolvla: bfloat16, float32"
    ):
        computed_in(flow, Asked(tmp_path, "float16"), copy)


def test_the_observations_are_a_function_of_the_seed(student_folder: Path) -> None:
    flow = load_policy(student_folder)
    one, same, other = (drawn(flow, student_folder, 2, "go", seed).raw for seed in (0, 0, 1))
    state = "observation.state"
    assert torch.equal(one[0][state], same[0][state])
    assert not torch.equal(one[0][state], other[0][state])
    assert not torch.equal(one[0][state], one[1][state])


@pytest.fixture
def of_hub(student_folder: Path, tmp_path: Path) -> Path:
    """The policy as most are: its VLM is named by a hub id."""
    folder = Path(shutil.copytree(student_folder, tmp_path / "of_hub", ignore=shutil.ignore_patterns("vlm")))
    for name in (CONFIG, PREPROCESSOR):
        text = (folder / name).read_text().replace(str(student_folder / "vlm"), HUB)
        (folder / name).write_text(text)
        assert HUB in text
    return folder


def test_what_is_named_by_a_hub_id_is_taken_from_the_hub(
    of_hub: Path, student_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def snapshot(name: str, ignore_patterns: list[str]) -> str:
        asked.append(name)
        assert "*.safetensors" in ignore_patterns
        return str(student_folder / "vlm")

    monkeypatch.setattr("reflow.policies.offline.snapshot_download", snapshot)
    source = without_hub(of_hub, tmp_path / "local")
    assert asked == [HUB]
    folder = write_bundle(load_policy(source), source, Asked(tmp_path / "bundle"))
    said = (folder / CONFIG).read_text() + (folder / PREPROCESSOR).read_text()
    assert HUB not in said
    assert said.count(str(folder / "vlm")) == 2
    assert (folder / "vlm" / "tokenizer.json").is_file()
    assert HUB in (of_hub / CONFIG).read_text()  # the source stays what it was


def test_what_the_hub_does_not_give_is_named(of_hub: Path, tmp_path: Path) -> None:
    with pytest.raises(
        MissingFileError, match=rf"names {HUB}, which is neither in the cache of the Hugging Face hub"
    ):
        without_hub(of_hub, tmp_path / "local")


def test_a_folder_that_names_none_is_taken_as_it_is(student_folder: Path, tmp_path: Path) -> None:
    assert without_hub(student_folder, tmp_path / "local") == student_folder
    assert list(tmp_path.iterdir()) == []
