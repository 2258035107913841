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

from reflow.demo import embedded
from reflow.demo.dataset import write_dataset
from reflow.demo.embed import embed_slice, embed_policy
from reflow.demo.measure import measure
from reflow.demo.rollout import Demonstration
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
    size = sum(file.stat().st_size for file in embedded.TEACHER.parent.rglob("*") if file.is_file())
    assert size <= 20e6


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
        (
            Demonstration(
                seed=number,
                arm="left",
                cube_pose=np.zeros(7),
                perturbed=False,
                frames=rng.integers(0, 256, (steps, 72, 96, 3), dtype=np.uint8),
                states=rng.normal(size=(steps, 14)).astype(np.float32),
                actions=rng.normal(size=(steps, 14)).astype(np.float32),
                rewards=np.full(steps, 4),
            )
            for number in range(episodes)
        ),
    )


def test_an_impossible_slice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every=0, start_frames=2; allowed: 1 or more of each"):
        embed_slice(tmp_path, tmp_path / "pick", every=0, start_frames=2)


@pytest.mark.slow
def test_ten_steps_pick_the_cube_and_one_step_does_not() -> None:
    ten, one = measure(embedded.TEACHER, [10, 1], range(100000, 100030))
    assert sum(ten.success) > sum(one.success)


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
