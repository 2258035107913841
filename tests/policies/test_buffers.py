"""Normalisation inside the weights, as an older LeRobot kept it: left out, or made into processors."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reflow.policies import find_folder, load_policy, load_processors, saved_statistics
from reflow.policies.files import CONFIG, POSTPROCESSOR, PREPROCESSOR, PROCESSORS, VLM, WEIGHTS
from tests.builders import make_statistics
from tests.policies.editing import STATES, change, change_weights, edit, snapshot, step

STATE = "normalize_inputs.buffer_observation_state"
ACTIONS = ("normalize_targets.buffer_action", "unnormalize_outputs.buffer_action")


def buffers(prefix: str = "", *, seed: int = 0, state: bool = True) -> dict[str, torch.Tensor]:
    """As an older LeRobot kept the statistics of the tests' teachers."""
    statistics = make_statistics(14, 14, seed)
    found = {}
    for name, feature in [(STATE, "observation.state")] * state + [(name, "action") for name in ACTIONS]:
        module, buffer = name.split(".")
        for statistic, value in statistics[feature].items():
            found[f"{module}{prefix}.{buffer}.{statistic}"] = value.clone()
    return found


def older(folder: Path, held: dict[str, torch.Tensor]) -> Path:
    """Makes a folder that of an older LeRobot: statistics in the weights, no processors."""
    change_weights(folder, lambda weights: weights | held)
    for name in (*PROCESSORS, *STATES.values()):
        (folder / name).unlink()
    return folder


def refused(folder: Path, message: str) -> None:
    before = snapshot(folder.parent)
    with pytest.raises(ValueError, match=message):
        find_folder(folder)
    assert snapshot(folder.parent) == before


# -- processors beside


def test_beside_processors_they_are_left_out_of_the_weights(copy, capsys):
    weights = load_file(copy / WEIGHTS)
    change_weights(copy, lambda weights: weights | buffers())
    folder = find_folder(copy)
    said = capsys.readouterr().err
    assert f"note: {copy / WEIGHTS}: the weights hold 6 tensors of normalisation, e.g. normalize_" in said
    assert "warning" not in said
    mended = load_file(folder / WEIGHTS)
    assert mended.keys() == weights.keys()
    assert all(torch.equal(mended[key], value) for key, value in weights.items())
    load_processors(folder, load_policy(folder))


def test_the_processors_count_where_the_two_differ_and_it_is_said(copy, capsys):
    change_weights(copy, lambda weights: weights | buffers(seed=1))
    folder = find_folder(copy)
    said = capsys.readouterr().err
    assert f"warning: {copy / WEIGHTS}: observation.state.mean in the weights is up to " in said
    assert f"from that in {STATES[PREPROCESSOR]}; LeRobot goes by the processors, and so does reflow" in said
    assert torch.equal(
        saved_statistics(folder).tensors["action.mean"], make_statistics(14, 14)["action"]["mean"]
    )


def test_values_that_were_never_set_are_no_difference(copy, capsys):
    never = {key: torch.full_like(value, torch.inf) for key, value in buffers().items()}
    change_weights(copy, lambda weights: weights | never)
    find_folder(copy)
    assert "warning" not in capsys.readouterr().err


def test_a_normalizer_that_is_part_of_a_policy_is_left_in_it(copy):
    change_weights(copy, lambda weights: weights | {"model.normalizer.weight": torch.ones(3)})
    assert find_folder(copy) == copy


# -- no processors


def test_the_processors_are_made_as_lerobot_makes_them(copy, capsys):
    expected = {name: json.loads((copy / name).read_text()) for name in PROCESSORS}
    tensors = {name: load_file(copy / STATES[name]) for name in PROCESSORS}
    older(copy, buffers())
    folder = find_folder(copy)
    assert "the processors, which lack, were made of them by its migration" in capsys.readouterr().err
    flow = load_policy(folder)
    load_processors(folder, flow)
    for name in PROCESSORS:
        content = json.loads((folder / name).read_text())
        for one, other in zip(content["steps"], expected[name]["steps"], strict=True):
            (
                one.get("config", {}).pop("tokenizer_name", None),
                other.get("config", {}).pop("tokenizer_name", None),
            )
            assert one == other
        made = load_file(folder / STATES[name])
        assert made.keys() == tensors[name].keys()
        assert all(torch.equal(made[key], value) for key, value in tensors[name].items())


def test_the_device_is_the_policy_s_and_not_this_machine_s(copy):
    edit(copy / CONFIG, device="cuda")
    older(copy, buffers())
    content = json.loads((find_folder(copy) / PREPROCESSOR).read_text())
    assert step(content, "device_processor")["config"]["device"] == "cuda"


@pytest.mark.parametrize("prefix", [".so100", ".so100-blue"])
def test_one_robot_s_prefix_is_taken(copy, prefix):
    older(copy, buffers(prefix))
    tensors = saved_statistics(find_folder(copy)).tensors
    for key, feature in make_statistics(14, 14).items():
        assert all(torch.equal(tensors[f"{key}.{name}"], value) for name, value in feature.items())


def test_several_robots_are_refused(copy):
    older(copy, buffers(".so100") | buffers(".aloha"))
    refused(
        copy,
        rf"{WEIGHTS} holds normalisation of several robots, under the prefixes aloha, so100; none of them",
    )


def test_features_with_underscores_keep_their_names(copy):
    """LeRobot's migration takes every underscore for a dot."""
    camera = "observation.images.left_wrist"

    def renamed(content):
        content["input_features"][camera] = content["input_features"].pop("observation.images.top")

    change(copy / CONFIG, renamed)
    image = {"normalize_inputs.buffer_observation_images_left_wrist.mean": torch.full((3, 1, 1), 0.5)}
    older(copy, buffers() | image)
    folder = find_folder(copy)
    assert f"{camera}.mean" in saved_statistics(folder).tensors
    assert list(load_policy(folder).config.image_features) == [camera]


def test_statistics_that_lack_are_named_with_lerobot_s_command(copy):
    older(copy, buffers(state=False))
    refused(
        copy,
        rf"no statistics of observation.state that LeRobot's migration would find \(found: action\); .*python -m "
        rf"lerobot.processor.migrate_policy_normalization --pretrained-path {copy} --output-dir {copy}_migrated "
        r"\(without a network it fails at the model card, after the files are written: they are good\)",
    )


def test_what_lerobot_cannot_make_is_refused_with_its_command(copy):
    older(copy, buffers())
    shutil.rmtree(copy / VLM)
    edit(copy / CONFIG, vlm_model_name="/gone/smolvlm")
    refused(
        copy,
        rf"{copy} has no processors, and LeRobot makes none of its {WEIGHTS} \(\w+: .*/gone/smolvlm.*; try python -m "
        rf"lerobot.processor.migrate_policy_normalization --pretrained-path {copy} ",
    )


def test_a_moved_folder_s_tokenizer_is_the_one_inside(copy, tmp_path):
    older(copy, buffers())
    edit(copy / CONFIG, vlm_model_name="/gone/vlm")
    folder = find_folder(copy.rename(tmp_path / "moved"))
    load_processors(folder, load_policy(folder))


def test_without_either_it_is_incomplete(copy):
    older(copy, {})
    with pytest.raises(FileNotFoundError, match=rf"{POSTPROCESSOR} missing.*--pretrained-path {copy}"):
        find_folder(copy)


@pytest.mark.slow
def test_lerobot_s_own_command_makes_the_same_and_fails_offline_after_the_files_are_written(copy, tmp_path):
    older(copy, buffers())
    found = find_folder(copy)
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "lerobot.processor.migrate_policy_normalization"),
            *("--pretrained-path", str(copy), "--output-dir", str(tmp_path / "migrated")),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode != 0
    assert "card" in ran.stderr
    for name in PROCESSORS:
        ours, theirs = (saved_statistics(folder, name).tensors for folder in (found, tmp_path / "migrated"))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], value) for key, value in theirs.items())
    weights = [load_file(folder / WEIGHTS) for folder in (found, tmp_path / "migrated")]
    assert all(torch.equal(weights[1][key], value) for key, value in weights[0].items())
