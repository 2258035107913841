"""Writes demonstrations as a LeRobotDataset (v3, frames as PNG in parquet, no video).

The folder appears under its final name only once it is complete: everything is written into a hidden
sibling first. PNG rather than video, because decoding video dominates the training time of a small model.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from reflow.demo.frames import RECORD_HEIGHT, RECORD_WIDTH
from reflow.demo.kinematics import ARM_JOINTS
from reflow.demo.scene import FPS, STATE_DIM
from reflow.errors import UserError
from reflow.files import write_json

TASK = "pick up the cube"
IMAGE_KEY, STATE_KEY, ACTION_KEY = "observation.images.top", "observation.state", "action"
JOINT_NAMES = [f"{arm}_{joint}" for arm in ("left", "right") for joint in (*ARM_JOINTS, "gripper")]
DEMONSTRATIONS_FILE = "meta/demonstrations.json"
FEATURES = {
    IMAGE_KEY: {
        "dtype": "image",
        "shape": (RECORD_HEIGHT, RECORD_WIDTH, 3),
        "names": ["height", "width", "channels"],
    },
    STATE_KEY: {"dtype": "float32", "shape": (STATE_DIM,), "names": JOINT_NAMES},
    ACTION_KEY: {"dtype": "float32", "shape": (STATE_DIM,), "names": JOINT_NAMES},
}


@dataclass(frozen=True)
class Recorded:
    """One episode: T observations, each with the action that followed it.

    Attributes:
        seed: Decides everything in it.
        success: Whether the environment saw the cube off the table for five steps in a row.
        frames: (T, 72, 96, 3) uint8, or None where nothing was rendered.
        states: (T, 14) float32 joint angles in rad, normalized grippers.
        actions: (T, 14) float32.
        told: What else the table of episodes says about it; JSON-able.
    """

    seed: int
    success: bool
    frames: np.ndarray | None
    states: np.ndarray
    actions: np.ndarray
    told: Mapping[str, Any]

    def summary(self) -> dict[str, Any]:
        """Its entry in `meta/demonstrations.json`."""
        return {"seed": self.seed, **self.told, "success": self.success, "steps": len(self.actions)}


def check_new_root(root: Path) -> None:
    """Refuses a folder that exists.

    Raises:
        UserError: `root` exists, whatever it holds.
    """
    if root.exists():
        raise UserError(f"run_dir={root} exists already; name a new folder, or remove that one first.")


@contextmanager
def _appears_complete(root: Path) -> Iterator[Path]:
    """Hands out a hidden sibling of `root`, renames it at the end, and removes it if anything goes wrong."""
    check_new_root(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = root.parent / f".{root.name}.partial-{os.getpid()}"
    try:
        yield partial
        check_new_root(root)
        partial.rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _add(dataset: LeRobotDataset, episode: Recorded) -> dict[str, Any]:
    """Appends one episode; returns its summary."""
    if episode.frames is None:
        raise UserError(f"the episode of seed {episode.seed} has no frames; render it.")
    rows = zip(episode.frames, episode.states, episode.actions, strict=True)
    for frame, state, action in rows:
        dataset.add_frame({IMAGE_KEY: frame, STATE_KEY: state, ACTION_KEY: action, "task": TASK})
    dataset.save_episode()
    return episode.summary()


def write_dataset(root: Path, episodes: Iterable[Recorded]) -> Path:
    """Writes every episode it is given.

    Args:
        root: Folder to create.
        episodes: With frames; consumed one by one.

    Returns:
        `root`. Beside LeRobot's own files it holds `meta/demonstrations.json`, one entry an episode.

    Raises:
        UserError: `root` exists, there was nothing to write, or an episode has no frames.
    """
    datasets.disable_progress_bars()
    with _appears_complete(root) as folder:
        dataset = LeRobotDataset.create(
            repo_id=f"local/{root.name}",
            root=folder,
            fps=FPS,
            robot_type="aloha",
            features=FEATURES,
            use_videos=False,
        )
        try:
            summaries = [_add(dataset, episode) for episode in episodes]
        finally:
            dataset.finalize()  # an open dataset writes its folder anew when it is collected
        if not summaries:
            raise UserError("there is no episode to write; ask for one episode or more.")
        shutil.rmtree(folder / "images", ignore_errors=True)  # LeRobot's scratch; the PNGs are in parquet
        write_json(folder / DEMONSTRATIONS_FILE, summaries)
    return root
