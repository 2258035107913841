"""Writes episodes as a LeRobotDataset (v3, frames as PNG in parquet, no video).

The folder appears under its final name only once it is complete: everything is written into a hidden
sibling first. PNG rather than video, because decoding video dominates the training time of a small model.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.errors import UserError
from reflow.files import write_json

EPISODES_FILE = "meta/demonstrations.json"


@dataclass(frozen=True)
class Layout:
    """What the rows of a data set are: cameras, a state, an action.

    Attributes:
        robot_type: As LeRobot names it.
        fps: Control steps per second.
        cameras: Height and width of each camera's frames in pixels, by key (`observation.images.*`).
        state: Names of the state's dimensions.
        action: Names of the action's dimensions.
    """

    robot_type: str
    fps: int
    cameras: Mapping[str, tuple[int, int]]
    state: Sequence[str]
    action: Sequence[str]

    def features(self) -> dict[str, Any]:
        """The same in LeRobot's words."""
        names = ["height", "width", "channels"]
        frames = {
            key: {"dtype": "image", "shape": (*size, 3), "names": names} for key, size in self.cameras.items()
        }
        return frames | {OBS_STATE: _numbers(self.state), ACTION: _numbers(self.action)}


@dataclass(frozen=True)
class Recorded:
    """One episode: T observations, each with the action that followed it.

    Attributes:
        seed: Decides everything in it.
        task: The sentence that says what is done.
        success: Whether the environment says so.
        frames: (T, height, width, 3) uint8 of each camera, or None where nothing was rendered.
        states: (T, s) float32.
        actions: (T, a) float32, physical units.
        told: What else the table of episodes says about it; JSON-able.
    """

    seed: int
    task: str
    success: bool
    frames: Mapping[str, np.ndarray] | None
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


def write_dataset(root: Path, layout: Layout, episodes: Iterable[Recorded]) -> Path:
    """Writes every episode it is given.

    Args:
        root: Folder to create.
        layout: Of all episodes.
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
            fps=layout.fps,
            robot_type=layout.robot_type,
            features=layout.features(),
            use_videos=False,
        )
        try:
            summaries = [_add(dataset, episode) for episode in episodes]
        finally:
            dataset.finalize()  # an open dataset writes its folder anew when it is collected
        if not summaries:
            raise UserError("there is no episode to write; ask for one episode or more.")
        shutil.rmtree(folder / "images", ignore_errors=True)  # LeRobot's scratch; the PNGs are in parquet
        write_json(folder / EPISODES_FILE, summaries)
    return root


def _numbers(names: Sequence[str]) -> dict[str, Any]:
    return {"dtype": "float32", "shape": (len(names),), "names": list(names)}


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
    for row, (state, action) in enumerate(zip(episode.states, episode.actions, strict=True)):
        frames = {key: seen[row] for key, seen in episode.frames.items()}
        dataset.add_frame({**frames, OBS_STATE: state, ACTION: action, "task": episode.task})
    dataset.save_episode()
    return episode.summary()
