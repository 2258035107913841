"""What is timed: the demo's policy, or one of SmolVLA's real size with random weights, and data for it.

Speed does not depend on what the weights are, so those of the real size are drawn anew; data are read as always.
Left out: anything about training (:mod:`reflow.speed.variants`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from reflow.data import LeRobotDataModule
from reflow.demo import embedded
from reflow.errors import UserError
from reflow.policies import FlowPolicy, find_folder, load_processors, save_policy
from reflow.policies.processors import save_new_processors
from reflow.policies.smolvla.sizes import SIZES
from reflow.quiet import unprinted

JOINTS, TASK, REPO_ID = 14, "pick up the cube and hand it over", "local/random_frames"
_BYTES, _SPARE = 4, 1.5


@dataclass(frozen=True)
class Geometry:
    """The sizes of a policy and of what it sees.

    Attributes:
        parameters, trained: of the policy, and of them trained; rounded, to tell the memory by.
        policy: name of a policy that is made (:data:`reflow.policies.smolvla.sizes.SIZES`); None for the demo's own,
            with its own data.
        cameras: how many.
        image: side of a square frame, in pixels.
        chunk_size: steps of an action chunk.
        batch_size: observations per step, unless said otherwise.
    """

    parameters: float
    trained: float
    policy: str | None = None
    cameras: int = 1
    image: int = 512
    chunk_size: int = 50
    batch_size: int = 1

    @property
    def memory(self) -> int:
        """Bytes that the side-by-side run needs at least, roughly.

        Two whole policies, and twice what training adds: a trained copy, gradients and AdamW's two moments.
        """
        return int(_SPARE * _BYTES * (2 * self.parameters + 7 * self.trained))


def _made(policy: str, **seen: int) -> Geometry:
    return Geometry(SIZES[policy].parameters, SIZES[policy].trained, policy, **seen)


GEOMETRIES: dict[str, Geometry] = {
    "demo": Geometry(parameters=1.8e6, trained=0.6e6, batch_size=16),
    "smolvla-1": _made("smolvla"),
    "smolvla-3": _made("smolvla", cameras=3),
    "tiny": _made("tiny", image=32, chunk_size=8, batch_size=2),
}
"""By name. ``tiny`` is for trying out the benchmark itself."""


@dataclass(frozen=True)
class Place:
    """Where policy and data lie; plain values, so that another process can be sent there.

    Attributes:
        teacher: a ``pretrained_model`` folder.
        repo_id, root: of the LeRobotDataset.
        data: further arguments of :class:`reflow.data.LeRobotDataModule`.
    """

    teacher: str
    repo_id: str
    root: str
    data: dict[str, Any] = field(default_factory=dict)

    def open(self, flow: FlowPolicy, device: str, **arguments: Any) -> LeRobotDataModule:
        """The data, as this policy reads them.

        Args:
            flow: the policy in this place.
            device: where batches go.
            **arguments: further ones of ``LeRobotDataModule``.
        """
        preprocess, _ = load_processors(Path(self.teacher), flow, device)
        return LeRobotDataModule(
            flow.config, preprocess, repo_id=self.repo_id, root=self.root, **self.data | arguments
        )


def get_geometry(name: str) -> Geometry:
    """The geometry of this name.

    Raises:
        UserError: there is none.
    """
    if name not in GEOMETRIES:
        raise UserError(f"size={name}; allowed: {', '.join(GEOMETRIES)}")
    return GEOMETRIES[name]


def check_memory(name: str, available: int) -> None:
    """Refuses a size that would not fit, before anything is built.

    Args:
        name: of the geometry.
        available: bytes.

    Raises:
        UserError: it needs more.
    """
    needed = get_geometry(name).memory
    if available < needed:
        raise UserError(
            f"size={name} needs about {needed / 1e9:.1f} GB of memory for both loops side by side, "
            f"{available / 1e9:.1f} GB are free; take a smaller one (size=demo), or a machine with more"
        )


def lay_out(geometry: Geometry, scratch: Path, *, frames: int = 4, seed: int = 0) -> Place:
    """Makes policy and data, where they do not come with the package.

    Args:
        geometry: of both.
        scratch: a folder to make them in.
        frames: observations to train on.
        seed: of weights and frames; the global generator stays as it was.
    """
    if geometry.policy is None:
        teacher = str(find_folder(embedded.TEACHER))
        return Place(teacher, embedded.REPO_ID, str(embedded.DATA), {"preload": True})
    cameras = [f"observation.images.camera_{number}" for number in range(geometry.cameras)]
    with unprinted():
        teacher_folder = _random_policy(geometry, cameras, scratch, seed)
        root = _random_frames(geometry, cameras, scratch / "data", frames, seed)
    data = {"val_episodes": [1], "allow_short_episodes": True}
    return Place(str(teacher_folder), REPO_ID, str(root), data)


def _random_policy(geometry: Geometry, cameras: list[str], scratch: Path, seed: int) -> Path:
    assert geometry.policy is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = SIZES[geometry.policy].build(
            scratch,
            joints=JOINTS,
            cameras=dict.fromkeys(cameras, (3, geometry.image, geometry.image)),
            task=TASK,
            chunk_size=geometry.chunk_size,
        )
    moments = {"mean": torch.zeros(JOINTS), "std": torch.ones(JOINTS)}
    processors = scratch / "processors"
    save_new_processors(flow, {"observation.state": moments, "action": moments}, processors)
    return save_policy(flow, processors, scratch / "teacher")


def _random_frames(geometry: Geometry, cameras: list[str], root: Path, frames: int, seed: int) -> Path:
    """Two episodes, to train on and held out; smooth random pictures, which decode as slowly as real ones."""
    datasets.disable_progress_bars()
    rng, side = np.random.default_rng(seed), geometry.image
    features: dict[str, Any] = {
        key: {"dtype": "image", "shape": (side, side, 3), "names": ["height", "width", "channels"]}
        for key in cameras
    }
    names = [f"joint_{number}" for number in range(JOINTS)]
    features |= {
        key: {"dtype": "float32", "shape": (JOINTS,), "names": names}
        for key in ("observation.state", "action")
    }
    dataset = LeRobotDataset.create(REPO_ID, 10, features, root=root, robot_type="made_up", use_videos=False)
    try:
        for length in (frames, 2):
            for _ in range(length):
                frame: dict[str, Any] = {key: _picture(rng, side) for key in cameras}
                frame["observation.state"] = rng.normal(size=JOINTS).astype(np.float32)
                frame["action"] = rng.normal(size=JOINTS).astype(np.float32)
                dataset.add_frame(frame | {"task": TASK})
            dataset.save_episode()
    finally:
        dataset.finalize()
    return root


def _picture(rng: np.random.Generator, side: int) -> np.ndarray:
    coarse = torch.from_numpy(rng.random((1, 3, 8, 8), dtype=np.float32))
    (fine,) = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    noisy = 255 * fine.permute(1, 2, 0).numpy() + rng.normal(
        scale=4, size=(side, side, 3)
    )  # a camera's sensor
    return noisy.clip(0, 255).astype(np.uint8)
