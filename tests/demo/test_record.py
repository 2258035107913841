"""What is recorded reads back, appears complete or not at all, and depends on the configuration alone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow import cli
from reflow.data.recording import EPISODES_FILE, Recorded, write_dataset
from reflow.demo import record as recorder
from reflow.demo.dataset import CAMERA, JOINT_NAMES, PICK, SIZE, TASK
from reflow.demo.demonstrator import Perturbation
from reflow.demo.record import RecordConfig, Tally, from_hydra, record, successes
from reflow.demo.scene import CubeRange


def made_up(seed: int, arm: str = "left", steps: int = 6, success: bool = True) -> Recorded:
    """A demonstration that nobody gave, quick to make."""
    rng = np.random.default_rng(seed)
    return Recorded(
        seed=seed,
        task=TASK,
        frames={CAMERA: rng.integers(0, 256, (steps, *SIZE, 3), dtype=np.uint8)},
        states=rng.normal(size=(steps, 14)).astype(np.float32),
        actions=rng.normal(size=(steps, 14)).astype(np.float32),
        success=success,
        told={"arm": arm, "cube_pose": CubeRange().sample(seed).tolist(), "perturbed": False},
    )


def read(root: Path) -> LeRobotDataset:
    return LeRobotDataset(f"local/{root.name}", root=root)


def test_what_is_written_reads_back_exactly(tmp_path):
    demonstrations = [made_up(0, "left"), made_up(1, "right", steps=8)]
    root = write_dataset(tmp_path / "new" / "demos", PICK, iter(demonstrations))
    dataset = read(root)
    assert (dataset.num_episodes, dataset.num_frames, dataset.fps) == (2, 14, 50)
    assert dataset.meta.robot_type == "aloha"
    assert dataset.meta.camera_keys == [CAMERA]
    assert not dataset.meta.video_keys
    index = 0
    for episode, demonstration in enumerate(demonstrations):
        for frame, state, action in zip(
            demonstration.frames[CAMERA], demonstration.states, demonstration.actions, strict=True
        ):
            row = dataset[index]
            assert (row["episode_index"], row["task"]) == (episode, TASK)
            levels = (row[CAMERA] * 255).round().to(torch.uint8).permute(1, 2, 0)
            np.testing.assert_array_equal(levels.numpy(), frame)
            np.testing.assert_array_equal(row[OBS_STATE].numpy(), state)
            np.testing.assert_array_equal(row[ACTION].numpy(), action)
            index += 1
    summaries = json.loads((root / EPISODES_FILE).read_text())
    assert summaries == [demonstration.summary() for demonstration in demonstrations]
    assert [summary["arm"] for summary in summaries] == ["left", "right"]


def test_features_are_named_and_have_the_statistics_training_needs(tmp_path):
    meta = read(write_dataset(tmp_path / "demos", PICK, [made_up(0)])).meta
    for key in (OBS_STATE, ACTION):
        assert meta.features[key]["dtype"] == "float32"
        assert meta.features[key]["names"] == JOINT_NAMES
        assert meta.stats[key]["mean"].shape == (14,)
    assert JOINT_NAMES[6] == "left_gripper"
    assert JOINT_NAMES[7] == "right_waist"
    assert tuple(meta.features[CAMERA]["shape"]) == (72, 96, 3)


def test_refuses_an_existing_root_before_it_simulates(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "play", lambda *_: pytest.fail("simulated for nothing"))
    with pytest.raises(ValueError, match=rf"run_dir={tmp_path} exists already; name a new folder"):
        record(RecordConfig(root=tmp_path))


def test_a_failure_half_way_leaves_nothing_behind(tmp_path):
    def breaks():
        yield made_up(0)
        raise RuntimeError("the simulator broke")

    with pytest.raises(RuntimeError, match="the simulator broke"):
        write_dataset(tmp_path / "demos", PICK, breaks())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("demonstrations", "message"),
    [
        ([], "no episode to write"),
        ([made_up(7).__class__(**vars(made_up(7)) | {"frames": None})], "seed 7"),
    ],
    ids=["none", "without frames"],
)
def test_rejects_what_makes_no_dataset(tmp_path, demonstrations, message):
    with pytest.raises(ValueError, match=message):
        write_dataset(tmp_path / "demos", PICK, demonstrations)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def failing_seeds(monkeypatch):
    """Replaces the simulation by made-up episodes; those of the seeds in the returned set fail."""
    failing: set[int] = set()

    def play(seeds, *_):
        yield from (made_up(seed, ("left", "right")[seed % 2], success=seed not in failing) for seed in seeds)

    monkeypatch.setattr(recorder, "play", play)
    return failing


def test_keeps_successes_in_the_order_of_their_seeds(tmp_path, failing_seeds):
    failing_seeds.add(102)
    tally = Tally()
    kept = list(successes(RecordConfig(root=tmp_path, episodes=10, seed=100), tally))
    assert [demonstration.seed for demonstration in kept] == [100, 101, *range(103, 111)]
    assert str(tally) == "left 5/6, right 5/5"


def test_gives_up_when_too_few_succeed(tmp_path, failing_seeds):
    failing_seeds.update((3, 5, 7))
    with pytest.raises(ValueError, match=r"only 10 of 13 .*left 7/7, right 3/6.* narrow the cube range"):
        record(RecordConfig(root=tmp_path / "demos", episodes=11, seed=0, processes=1))
    assert list(tmp_path.iterdir()) == []


def composed(*overrides: str):
    return cli.composed("record", *overrides)


def test_the_shipped_configuration_holds_the_defaults_of_the_code():
    assert from_hydra(composed("run_dir=here")) == RecordConfig(root=Path("here"))


def test_the_command_line_reaches_every_part():
    cfg = composed("run_dir=here", "episodes=7", "cube.x=[0.1,0.12]", "perturbation.share=0")
    assert from_hydra(cfg) == RecordConfig(
        root=Path("here"), episodes=7, cube=CubeRange(x=(0.1, 0.12)), perturbation=Perturbation(share=0)
    )


@pytest.mark.parametrize("override", ["+episode=3", "+cube.z=[0,1]", "+perturbation.amount=1"])
def test_an_unknown_key_is_an_error_that_names_it(override):
    key = override[1:].split("=")[0].split(".")[-1]
    with pytest.raises(ValueError, match=rf"configuration key \S*{key}=.*there is no such key"):
        composed("run_dir=here", override)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"episodes": 0}, "episodes=0 must be 1 or more"),
        ({"processes": 0}, "processes=0 must be 1 or more"),
        ({"seed": -1}, r"seed=-1 must lie in \[0, 2\*\*32"),
        ({"seed": 2**32 - 1}, r"must lie in \[0, 2\*\*32"),
    ],
)
def test_rejects_senseless_values(values, message):
    with pytest.raises(ValueError, match=message):
        RecordConfig(root=Path("here"), **values)


@pytest.mark.slow
def test_the_command_records_what_the_seeds_say_and_leaves_no_litter(tmp_path, stage):
    """Two episodes on two processes, against the same two played right here."""
    command = [
        sys.executable,
        "-m",
        "reflow.demo.record",
        "run_dir=demos",
        "episodes=2",
        "seed=42",
        "processes=2",
    ]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        env={
            "PATH": "",
            "PYTHONPATH": str(Path(recorder.__file__).parents[2]),
            "HOME": str(tmp_path / "home"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert {path.name for path in tmp_path.iterdir()} - {"home"} == {"demos"}
    dataset = read(tmp_path / "demos")
    summaries = json.loads((tmp_path / "demos" / EPISODES_FILE).read_text())
    assert [summary["seed"] for summary in summaries] == [42, 43]
    for episode, seed in enumerate((42, 43)):
        expected = stage.demonstrate(seed, render=episode == 0)
        rows = [dataset[100 * episode + step] for step in range(100)]
        np.testing.assert_array_equal(np.stack([row[OBS_STATE] for row in rows]), expected.states)
        np.testing.assert_array_equal(np.stack([row[ACTION] for row in rows]), expected.actions)
        if expected.frames is not None:
            seen = torch.stack([row[CAMERA] for row in rows]).permute(0, 2, 3, 1)
            np.testing.assert_array_equal(
                (seen * 255).round().to(torch.uint8).numpy(), expected.frames[CAMERA]
            )
