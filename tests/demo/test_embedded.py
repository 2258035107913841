"""The embedded default: complete, small, and what lerobot-eval makes of a student of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from reflow.data.recording import Recorded, write_dataset
from reflow.demo import embedded
from reflow.demo.dataset import CAMERA, PICK, TASK
from reflow.demo.embed import embed_policy, embed_slice
from reflow.demo.measure import measure
from reflow.errors import MissingFileError
from reflow.policies import find_folder, load_policy, load_processors, save_policy

NO_NETWORK = """
import socket
def refuse(self, address, *_):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        raise RuntimeError(f"asked the network for {address}")
    return connect(self, address)
connect, socket.socket.connect, socket.socket.connect_ex = socket.socket.connect, refuse, refuse
"""


def test_it_is_complete_and_at_most_20_mb() -> None:
    flow = load_policy(find_folder(embedded.TEACHER))
    load_processors(embedded.TEACHER, flow)
    data = LeRobotDataset(embedded.REPO_ID, root=embedded.DATA, video_backend="pyav")
    assert data.meta.features["action"]["shape"] == (14,)
    assert len(data) == data.meta.total_frames > 1000
    assert data[0]["observation.images.top"].shape == (3, 72, 96)
    assert size_of(embedded.TEACHER) + size_of(embedded.DATA) <= 20e6


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("name", sorted(file.parent.name for file in embedded.ASSETS.glob("*/config.json")))
def test_every_embedded_policy_is_found_by_its_name_and_small(name: str) -> None:
    folder = find_folder(embedded.policy_path(f"embedded/{name}"))
    assert folder == embedded.ASSETS / name
    load_processors(folder, load_policy(folder))
    assert size_of(folder) <= 10e6


def test_paths_that_are_not_embedded_stay_what_they_are() -> None:
    assert embedded.policy_path(None) == embedded.TEACHER
    assert embedded.policy_path(None, embedded.DATA) == embedded.DATA
    assert embedded.policy_path("me/my_policy") == "me/my_policy"
    with pytest.raises(
        FileNotFoundError,
        match=r"embedded/nobody does not come with the package; there are: .*embedded/teacher,",
    ):
        embedded.policy_path("embedded/nobody")


@pytest.mark.parametrize(("name", "supervised"), [("teacher", False), ("teacher_supervised", True)])
def test_the_two_teachers_are_of_the_two_regimes(name: str, supervised: bool) -> None:
    flow = load_policy(embedded.ASSETS / name)
    preprocess, _ = load_processors(embedded.ASSETS / name, flow)
    batch = preprocess(
        {
            "observation.images.top": torch.full((1, 3, 72, 96), 0.5),
            "observation.state": torch.zeros(1, 14),
            "task": ["pick up the cube"],
        }
    )
    noise = torch.randn(1, 4, 50, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        padding = flow.space.padding(flow.walk(flow.encode(batch), noise)).abs().mean()
    assert padding < 0.05 if supervised else padding > 0.3


def test_demonstrations_succeed_by_the_environments_reward_and_either_arm_picks() -> None:
    summaries = json.loads((embedded.DATA / "meta" / "demonstrations.json").read_text())
    data = LeRobotDataset(embedded.REPO_ID, root=embedded.DATA, video_backend="pyav")
    assert len(summaries) == data.meta.total_episodes
    assert sum(summary["success"] for summary in summaries) >= 0.9 * len(summaries)
    arms = [summary["arm"] for summary in summaries]
    assert min(arms.count("left"), arms.count("right")) >= 0.25 * len(arms)


def test_embedding_names_the_vlm_relative_to_the_bundle(tmp_path: Path) -> None:
    embed_policy(embedded.TEACHER, tmp_path / "teacher")
    assert json.loads((tmp_path / "teacher" / "config.json").read_text())["vlm_model_name"] == "vlm"
    ours, theirs = (load_policy(folder) for folder in (tmp_path / "teacher", embedded.TEACHER))
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_a_slice_keeps_some_episodes_whole_and_the_start_of_the_others(tmp_path: Path) -> None:
    embed_slice(
        make_demonstrations(tmp_path / "source", episodes=4, steps=6),
        tmp_path / "pick",
        every=3,
        start_frames=2,
    )
    source, part = (
        LeRobotDataset("reflow/part", root=tmp_path / name, video_backend="pyav")
        for name in ("source", "pick")
    )
    assert [int(part.meta.episodes[i]["length"]) for i in range(4)] == [6, 2, 2, 6]
    kept = [*range(6), 6, 7, 12, 13, *range(18, 24)]
    for row, origin in enumerate(kept):
        for key in ("observation.images.top", "observation.state", "action"):
            assert torch.equal(part[row][key], source[origin][key])
    summaries = json.loads((tmp_path / "pick" / "meta" / "demonstrations.json").read_text())
    assert [summary["steps"] for summary in summaries] == [6, 2, 2, 6]
    assert all(summary["success"] for summary in summaries)


def make_demonstrations(root: Path, episodes: int, steps: int) -> Path:
    """A data set as the recorder writes it, of made-up numbers."""
    rng = np.random.default_rng(0)
    return write_dataset(
        root,
        PICK,
        (
            Recorded(
                seed=number,
                task=TASK,
                frames={CAMERA: rng.integers(0, 256, (steps, 72, 96, 3), dtype=np.uint8)},
                states=rng.normal(size=(steps, 14)).astype(np.float32),
                actions=rng.normal(size=(steps, 14)).astype(np.float32),
                success=True,
                told={"arm": "left", "cube_pose": [0.0] * 7, "perturbed": False},
            )
            for number in range(episodes)
        ),
    )


def test_an_impossible_slice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every=0, start_frames=2; allowed: 1 or more of each"):
        embed_slice(tmp_path, tmp_path / "pick", every=0, start_frames=2)


def test_demonstrations_that_are_not_there_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"demonstrations.*nowhere"):
        embed_slice(tmp_path / "nowhere", tmp_path / "pick", every=1, start_frames=1)


@pytest.mark.slow
def test_ten_steps_pick_the_cube_and_one_step_does_not() -> None:
    played = measure(embedded.TEACHER, [10, 1], range(100000, 100030))
    ten, one = (sum(e.success for e in played if e.num_steps == n) for n in (10, 1))
    assert ten > one


@pytest.mark.slow
def test_stock_lerobot_eval_runs_a_policy_and_asks_the_network_for_nothing(tmp_path: Path) -> None:
    flow = load_policy(embedded.TEACHER)
    flow.num_steps = 1
    policy = save_policy(flow, embedded.TEACHER, tmp_path / "pretrained_model")
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(NO_NETWORK)
    subprocess.run(
        [
            str(Path(sys.executable).parent / "lerobot-eval"),
            f"--policy.path={policy}",
            "--env.type=aloha",
            "--env.task=AlohaTransferCube-v0",
            "--env.episode_length=60",
            "--eval.n_episodes=1",
            "--eval.batch_size=1",
            f"--output_dir={tmp_path / 'eval'}",
        ],
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "guard")},
        timeout=600,
    )
    assert (tmp_path / "eval" / "eval_info.json").is_file()
