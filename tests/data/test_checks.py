"""Data set and policy that do not belong together are told apart before training, and the error mends it."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from omegaconf import OmegaConf

from reflow.data import check_fit, load_metadata, split_episodes
from reflow.data.checks import check_lengths
from tests.builders import HEIGHT, TOP, WIDTH, make_dataset, repo_id
from tests.distill.conftest import composed

FRONT, SIDE, WRIST = (f"observation.images.{name}" for name in ("front", "side", "wrist"))


def looking(
    cameras: Sequence[str] = (TOP,), action_dim: int = 14, state_dim: int | None = 14, empty_cameras: int = 0
) -> SmolVLAConfig:
    """The configuration of a policy trained on such a robot."""
    inputs = {key: PolicyFeature(FeatureType.VISUAL, (3, HEIGHT, WIDTH)) for key in cameras}
    if state_dim is not None:
        inputs["observation.state"] = PolicyFeature(FeatureType.STATE, (state_dim,))
    config = SmolVLAConfig(
        input_features=inputs,
        output_features={"action": PolicyFeature(FeatureType.ACTION, (action_dim,))},
        empty_cameras=empty_cameras,
        device="cpu",
    )
    config.validate_features()  # as the policy does when it is built: adds the empty cameras
    return config


@pytest.fixture(scope="module")
def meta(demos: Path) -> LeRobotDatasetMetadata:
    return load_metadata(repo_id(demos), demos)


@pytest.fixture(scope="module")
def two_cameras(tmp_path_factory: pytest.TempPathFactory) -> LeRobotDatasetMetadata:
    root = tmp_path_factory.mktemp("data") / "cameras"
    make_dataset(root, cameras=(FRONT, SIDE), episodes=1, frames=2)
    return load_metadata(repo_id(root), root)


@pytest.mark.parametrize("policy", [looking(), looking(state_dim=None), looking(empty_cameras=2)])
def test_what_fits_passes(meta, policy):
    check_fit(meta, policy, {})


def test_a_camera_that_the_policy_does_not_know_is_no_harm(two_cameras):
    check_fit(two_cameras, looking((FRONT,)), {})


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            looking(action_dim=6),
            r"action dimension does not fit: .* has action of 14 \['joint_0', .* expects 6;",
        ),
        (
            looking(state_dim=7),
            r"state dimension does not fit: .* observation.state of 14 .* expects 7; choose",
        ),
    ],
)
def test_other_widths_are_refused(meta, policy, message):
    with pytest.raises(ValueError, match=message):
        check_fit(meta, policy, {})


def test_a_missing_state_is_refused(meta, monkeypatch):
    features = {key: value for key, value in meta.features.items() if key != "observation.state"}
    monkeypatch.setattr(type(meta), "features", features)
    with pytest.raises(ValueError, match=r"has observation.state of no such key, the teacher expects 14"):
        check_fit(meta, looking(), {})


def test_an_unknown_name_in_rename_is_refused(meta):
    with pytest.raises(ValueError, match=rf"data.rename names \['{FRONT}'\], .*its cameras: \['{TOP}'\]"):
        check_fit(meta, looking(), {FRONT: TOP})


def test_two_cameras_of_one_name_are_refused(two_cameras):
    first, second = two_cameras.camera_keys
    with pytest.raises(ValueError, match=rf"data.rename gives \['{second}'\] to more than one camera"):
        check_fit(two_cameras, looking((second,)), {first: second})


@pytest.mark.parametrize(
    ("wanted", "rename", "missing"),
    [
        ((TOP,), {}, (TOP,)),
        ((TOP, WRIST), {}, (TOP, WRIST)),
        ((FRONT, WRIST), {}, (WRIST,)),
        ((TOP, WRIST), {FRONT: TOP}, (WRIST,)),
        ((TOP,), {FRONT: "observation.images.tpo", SIDE: WRIST}, (TOP,)),
    ],
    ids=["one", "two", "one of two", "one is renamed already", "misspelt"],
)
def test_missing_cameras_are_refused_and_the_suggestion_mends_it(two_cameras, wanted, rename, missing):
    with pytest.raises(ValueError, match="cameras do not fit: the teacher sees") as caught:
        check_fit(two_cameras, looking(wanted), rename)
    assert f"missing {list(missing)}" in str(caught.value)
    (suggestion,) = re.findall(r"If only the names differ: '(.*)'$", str(caught.value))
    config = composed(suggestion)  # pasted behind the command
    check_fit(two_cameras, looking(wanted), OmegaConf.to_container(config.data.rename))


def test_where_no_camera_is_left_the_suggestion_says_so(meta):
    with pytest.raises(ValueError, match=rf"missing \['{WRIST}'\].*'data.rename={{<camera>:{WRIST}}}'"):
        check_fit(meta, looking((TOP, WRIST)), {})


def test_episodes_shorter_than_the_chunk_are_refused(meta):
    check_lengths(meta, [0, 1], 12, allow_short=False)  # the longest of the two is as long as the chunk
    check_lengths(meta, [1], 12, allow_short=True)
    with pytest.raises(
        ValueError, match=r"chunk_size=12 .* has 9 frames \(fps 10\).* data.allow_short_episodes=true"
    ):
        check_lengths(meta, [1], 12, allow_short=False)


@pytest.mark.parametrize(
    ("total", "episodes", "val_episodes", "expected"),
    [
        (20, None, None, (list(range(18)), [18, 19])),
        (4, None, None, ([0, 1, 2], [3])),
        (9, [7, 2, 5], None, ([7, 2], [5])),
        (4, None, [1], ([0, 2, 3], [1])),
        (4, [0, 2], [3, 1], ([0, 2], [3, 1])),
        (2, None, None, ([0], [1])),
    ],
)
def test_what_is_held_out(total, episodes, val_episodes, expected):
    assert split_episodes(total, episodes, val_episodes) == expected


@pytest.mark.parametrize(
    ("episodes", "val_episodes", "message"),
    [
        ([], None, r"data.episodes=\[\] chooses no episode; give numbers from 0 to 3"),
        (None, [], r"data.val_episodes=\[\] chooses no episode"),
        ([0, 4, -1], None, r"data.episodes names \[4, -1\], but the data set has episodes 0 to 3"),
        (None, [9], r"data.val_episodes names \[9\], but the data set has episodes 0 to 3"),
        ([1, 1, 2], None, r"data.episodes names an episode twice: \[1, 1, 2\]"),
        (None, [3, 3], r"data.val_episodes names an episode twice: \[3, 3\]"),
        ([0, 1, 2], [2, 1], r"episodes \[1, 2\] stand in data.episodes and in data.val_episodes"),
        ([2], None, r"no episode is left to train on: 1 chosen, 1 held out; choose at least two"),
        (None, [0, 1, 2, 3], r"no episode is left to train on: 4 chosen, 4 held out"),
    ],
)
def test_splits_that_make_no_sense_are_refused(episodes, val_episodes, message):
    with pytest.raises(ValueError, match=message):
        split_episodes(4, episodes, val_episodes)


@pytest.mark.parametrize(
    ("episodes", "val_episodes", "exclude", "empty", "expected"),
    [
        (None, None, [1, 3], [], ([0], [2])),
        (None, [1], [3], [], ([0, 2], [1])),
        ([0, 1, 2], None, [3], [], ([0, 1], [2])),
        (None, None, [], [3], ([0, 1], [2])),
        ([0, 3], [2], None, [3], ([0], [2])),
    ],
)
def test_what_is_left_out(episodes, val_episodes, exclude, empty, expected):
    assert split_episodes(4, episodes, val_episodes, exclude, empty=empty) == expected


@pytest.mark.parametrize(
    ("episodes", "val_episodes", "exclude", "message"),
    [
        (None, None, [4], r"data.exclude_episodes names \[4\], but the data set has episodes 0 to 3"),
        (None, None, [1, 1], r"data.exclude_episodes names an episode twice: \[1, 1\]"),
        (
            [0, 1],
            None,
            [1],
            r"episodes \[1\] stand in data.episodes and in data.exclude_episodes; leave them out of",
        ),
        (None, [2], [2, 3], r"episodes \[2\] stand in data.val_episodes and in data.exclude_episodes"),
        (
            None,
            None,
            [0, 1, 2],
            r"no episode is left to train on: 1 chosen, 1 held out, 3 left out; choose at",
        ),
    ],
)
def test_exclusions_that_make_no_sense_are_refused(episodes, val_episodes, exclude, message):
    with pytest.raises(ValueError, match=message):
        split_episodes(4, episodes, val_episodes, exclude)


def test_nothing_left_to_hold_out_is_refused():
    with pytest.raises(ValueError, match=r"no episode is left to hold out: .*data.mixture\[2\].episodes="):
        split_episodes(4, None, [3], empty=[3], where="data.mixture[2]")


def test_saved_names_that_the_data_lack_are_no_mistake(two_cameras):
    check_fit(two_cameras, looking((TOP,)), {}, {FRONT: TOP, WRIST: TOP})
    check_fit(two_cameras, looking((TOP,)), {FRONT: "observation.images.else", SIDE: TOP}, {FRONT: TOP})
