"""What is odd and has one meaning is mended into an ordinary folder, written once; the source is left alone."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

from reflow.policies import (
    find_folder,
    fingerprint,
    load_policy,
    load_processors,
    save_policy,
    saved_statistics,
)
from reflow.policies.files import CONFIG, PREPROCESSOR, PROCESSORS, VLM, WEIGHTS
from reflow.policies.find import cache
from reflow.policies.smolvla import SmolVLAFlow
from tests.builders import TOP, make_batch, make_teacher_folder, quiet
from tests.policies.editing import change, change_statistics, edit, snapshot, step


def chunk(policy: SmolVLAPolicy) -> torch.Tensor:
    """What a policy does with one made-up observation and one noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, policy.config.chunk_size, policy.config.max_action_dim, generator=generator)
    return policy.predict_action_chunk(make_batch(SmolVLAFlow(policy)), noise=noise)


# -- the mended folder


def test_a_merged_policy_that_still_says_use_peft_gives_an_ordinary_student(copy, tmp_path, capsys):
    edit(copy / CONFIG, use_peft=True)
    before = snapshot(copy)
    folder = find_folder(copy)
    said = capsys.readouterr().err
    assert said.startswith(f"note: {copy / CONFIG} says use_peft: true, but there is no adapter")
    assert snapshot(copy) == before
    assert folder.name == "pretrained_model"
    assert folder.is_relative_to(cache())
    student = save_policy(load_policy(folder), folder, tmp_path / "student")
    assert json.loads((student / CONFIG).read_text())["use_peft"] is False
    assert not any(file.is_symlink() for file in student.rglob("*"))


def test_what_did_not_change_is_linked(copy):
    edit(copy / CONFIG, use_peft=True)
    (copy / "train_config.json").write_text("{}")
    folder = find_folder(copy)
    for name in (WEIGHTS, VLM, "train_config.json"):
        assert (folder / name).is_symlink()
        assert (folder / name).resolve() == copy / name
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(entry.name for entry in copy.iterdir())
    stock, ours = load_policy(copy), load_policy(folder)
    assert torch.equal(chunk(stock.policy), chunk(ours.policy))


def test_it_is_written_once_and_is_a_function_of_the_contents(copy, capsys):
    edit(copy / CONFIG, use_peft=True)
    folder = find_folder(copy)
    (folder / "mark").touch()
    capsys.readouterr()
    assert find_folder(copy) == folder
    assert (folder / "mark").exists()
    (folder / "mark").unlink()
    first = fingerprint(folder)
    edit(copy / CONFIG, num_steps=3)
    other = find_folder(copy)
    assert other != folder
    assert fingerprint(folder) == first
    assert load_policy(other).num_steps == 3


def test_a_copy_elsewhere_is_mended_for_itself(copy, tmp_path):
    """Its links lead to its own files: what becomes of the other folder is nothing to it."""
    edit(copy / CONFIG, use_peft=True)
    other = Path(shutil.copytree(copy, tmp_path / "other"))
    folders = find_folder(copy), find_folder(other)
    assert [(folder / WEIGHTS).resolve().parent for folder in folders] == [copy, other]


def test_the_mended_folder_is_found_as_it_is(copy, capsys):
    edit(copy / CONFIG, use_peft=True)
    folder = find_folder(copy)
    capsys.readouterr()
    assert find_folder(folder) == folder
    assert capsys.readouterr().err == ""
    assert find_folder(folder.parent, "student.path") == folder


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"REFLOW_CACHE": "/a"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/reflow"),
        ({"HOME": "/c"}, "/c/.cache/reflow"),
        ({"REFLOW_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/reflow"),
    ],
)
def test_where_the_cache_is(monkeypatch, variables, expected):
    for name in ("REFLOW_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache() == Path(expected)


def test_a_cache_that_cannot_be_written_is_named(copy, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("REFLOW_CACHE", str(tmp_path / "file"))
    edit(copy / CONFIG, use_peft=True)
    with pytest.raises(ValueError, match=rf"mended copy of {copy} cannot be written to .*set REFLOW_CACHE"):
        find_folder(copy)


# -- fields of another LeRobot


def test_unknown_fields_that_are_off_are_left_out_and_named(copy, capsys):
    edit(copy / CONFIG, new_flag=False, new_list=[], new_name=None, rtc_config={"enabled": False, "newer": 0})
    folder = find_folder(copy)
    said = capsys.readouterr().err
    assert f"note: {copy / CONFIG}: new_flag, new_list, new_name is not known to LeRobot" in said
    assert f"note: {copy / CONFIG}: rtc_config.newer is not known to LeRobot" in said
    config = json.loads((folder / CONFIG).read_text())
    assert not {"new_flag", "new_list", "new_name"} & config.keys()
    assert config["rtc_config"] == {"enabled": False}
    assert load_policy(folder).config.rtc_config.enabled is False


@pytest.mark.parametrize("value", [True, 1, 0.5, "on", ["x"], {"a": 1}])
def test_unknown_fields_that_matter_are_refused(copy, value):
    edit(copy / CONFIG, newer_thing=value, newer_flag=False)
    before = snapshot(copy.parent)
    with pytest.raises(
        ValueError, match=r"config.json sets newer_thing=.*, which LeRobot 0\..* does not know"
    ):
        find_folder(copy)
    assert snapshot(copy.parent) == before


def test_unknown_fields_inside_are_refused_by_their_whole_name(copy):
    edit(copy / CONFIG, rtc_config={"enabled": False, "newer": 3})
    with pytest.raises(ValueError, match=r"sets rtc_config.newer=3, which"):
        find_folder(copy)


def test_fields_of_steps_likewise(copy, capsys):
    change(copy / PREPROCESSOR, lambda content: content["steps"][3]["config"].update(newer=None))
    folder = find_folder(copy)
    assert f"{copy / PREPROCESSOR}: steps.3.config.newer is not known" in capsys.readouterr().err
    load_processors(folder, load_policy(folder))
    change(copy / PREPROCESSOR, lambda content: content["steps"][3]["config"].update(newer="x"))
    with pytest.raises(ValueError, match=rf"{PREPROCESSOR} sets steps.3.config.newer='x', which LeRobot"):
        find_folder(copy)


@pytest.mark.parametrize(
    "changes",
    [{"features": {"action": 3}}, {"norm_map": {"ACTION": "SOMEHOW"}}, {"features": {"action": {}}}],
)
def test_a_step_that_lerobot_cannot_make_is_refused_with_its_words(copy, changes):
    change(
        copy / PREPROCESSOR, lambda content: step(content, "normalizer_processor")["config"].update(changes)
    )
    with pytest.raises(ValueError, match=r"cannot make its step .normalizer_processor. \(\w+: "):
        find_folder(copy)


# -- statistics under a prefix


def prefixed(*prefixes: str):
    def how(tensors):
        return {f"{prefix}.buffer_{key}": value for prefix in prefixes for key, value in tensors.items()}

    return how


@pytest.mark.parametrize("separator", ["_", "."])
@pytest.mark.parametrize("state", ["observation.state", "observation_state"])
def test_one_prefix_has_one_meaning(copy, capsys, separator, state):
    expected = {name: saved_statistics(copy, name).tensors for name in PROCESSORS}

    def how(tensors):
        return {
            f"so100.buffer{separator}{key.replace('observation.state', state)}": tensors[key]
            for key in tensors
        }

    change_statistics(copy, how)
    folder = find_folder(copy)
    said = capsys.readouterr().err
    assert (
        said.count("the statistics stand under the prefix so100, where LeRobot does not look for them") == 2
    )
    load_processors(folder, load_policy(folder))
    for name, tensors in expected.items():
        mended = saved_statistics(folder, name).tensors
        assert mended.keys() == tensors.keys()
        assert all(torch.equal(mended[key], value) for key, value in tensors.items())


def test_several_prefixes_are_several_robots(copy):
    change_statistics(copy, prefixed("so100", "aloha"))
    before = snapshot(copy.parent)
    with pytest.raises(ValueError, match=r"several robots, under the prefixes aloha, so100; .*Keep those of"):
        find_folder(copy)
    assert snapshot(copy.parent) == before


def test_prefixed_ones_beside_plain_ones_are_not_read(copy, capsys):
    change_statistics(copy, lambda tensors: tensors | prefixed("so100", "aloha")(dict(tensors)))
    assert find_folder(copy) == copy
    assert capsys.readouterr().err == ""


# -- features of the base

CAMERAS = tuple(f"observation.images.camera{i}" for i in (1, 2, 3))


def stale(
    folder: Path, *, state: int | None = None, rename: dict[str, str] | None = None, seen: Sequence[str] = ()
) -> None:
    """Makes the configuration that of a base, and the statistics those of what was trained on."""

    def features(content):
        if state is not None:
            content["observation.state"]["shape"] = [state]

    change(folder / CONFIG, lambda content: features(content["input_features"]))

    def pre(content):
        features(step(content, "normalizer_processor")["config"]["features"])
        step(content, "rename_observations_processor")["config"]["rename_map"] = rename or {}

    change(folder / PREPROCESSOR, pre)
    if seen:
        change_statistics(
            folder, lambda tensors: tensors | {f"{key}.mean": torch.full((3, 1, 1), 0.5) for key in seen}
        )


def test_the_state_is_as_wide_as_its_statistics(copy, capsys):
    stale(copy, state=6)
    folder = find_folder(copy)
    assert (
        "config.json says 6 values of observation.state, its statistics are of 14" in capsys.readouterr().err
    )
    flow = load_policy(folder)
    assert flow.config.robot_state_feature.shape == (14,)
    preprocess, _ = load_processors(folder, flow)
    assert preprocess.steps[-1].features["observation.state"].shape == (14,)


@pytest.fixture
def three_cameras(tmp_path: Path) -> Path:
    return make_teacher_folder(tmp_path / "three", cameras=CAMERAS)


@pytest.mark.parametrize(
    ("rename", "seen"),
    [
        ({"observation.images.front": CAMERAS[0], "observation.images.wrist": CAMERAS[1]}, ()),
        ({"observation.images.wrist": CAMERAS[1]}, (CAMERAS[0],)),
        ({"observation.images.front": CAMERAS[0]}, ("observation.images.front", CAMERAS[1])),
        ({}, CAMERAS[:2]),
    ],
)
def test_cameras_that_were_never_fed_are_taken_out(three_cameras, capsys, rename, seen):
    stale(three_cameras, rename=rename, seen=seen)
    folder = find_folder(three_cameras)
    assert f"{CAMERAS[2]} is left over from its base" in capsys.readouterr().err
    assert list(load_policy(folder).config.image_features) == list(CAMERAS[:2])
    content = json.loads((folder / PREPROCESSOR).read_text())
    assert CAMERAS[2] not in step(content, "normalizer_processor")["config"]["features"]


@pytest.mark.parametrize("empty_cameras", [0, 1, 2])
def test_lerobot_s_chunk_is_the_same_with_and_without_them(tmp_path, empty_cameras):
    """LeRobot skips a camera that does not come, or masks it where ``empty_cameras`` says so."""
    source = make_teacher_folder(tmp_path / "three", cameras=CAMERAS, empty_cameras=empty_cameras)
    stale(source, rename={"observation.images.front": CAMERAS[0]})
    with quiet():
        stock, mended = (SmolVLAPolicy.from_pretrained(folder) for folder in (source, find_folder(source)))
    assert set(stock.config.image_features) - set(mended.config.image_features) == set(CAMERAS[1:])
    batch = make_batch(SmolVLAFlow(mended))
    batch = {key: value for key, value in batch.items() if "empty_camera" not in key}
    noise = torch.randn(2, 8, 32, generator=torch.Generator().manual_seed(0))
    chunks = [policy.predict_action_chunk(dict(batch), noise=noise) for policy in (stock, mended)]
    images = [policy.prepare_images(batch) for policy in (stock, mended)]
    assert len(images[0][0]) == len(images[1][0]) == 1 + empty_cameras
    assert torch.equal(*chunks)


@pytest.mark.parametrize(
    ("rename", "seen"),
    [
        ({}, ()),
        ({}, ("observation.images.front",)),
        ({"a": "b"}, ()),
        ({}, CAMERAS),
        ({"a": CAMERAS[0]}, CAMERAS),
    ],
)
def test_without_a_word_about_any_of_them_all_cameras_stay(three_cameras, capsys, rename, seen):
    stale(three_cameras, rename=rename, seen=seen)
    assert find_folder(three_cameras) == three_cameras
    assert capsys.readouterr().err == ""


def test_one_value_for_many_joints_is_no_width(copy, capsys):
    change_statistics(copy, lambda tensors: {key: value[:1] for key, value in tensors.items()})
    assert find_folder(copy) == copy
    with pytest.raises(ValueError, match=r"has 1 value, but .* says 14 for observation.state"):
        load_processors(copy, load_policy(copy))


def test_a_teacher_of_one_camera_keeps_it(copy):
    stale(copy, rename={"observation.images.front": TOP})
    assert find_folder(copy) == copy
