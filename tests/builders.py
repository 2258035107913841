"""Small teachers, batches and data sets of the real classes and file formats, made offline in a second or two.

Weights are drawn anew but wide enough that image, words, state, noise and time all move the velocity.
"""

import contextlib
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from torch import Tensor

from reflow.distill.module import Distillation
from reflow.endpoints.source import LiveEndpoints, StoredEndpoints
from reflow.flow import EULER, PaddingRule, Solver, TimeSampler
from reflow.objectives import Reflow
from reflow.policies import Batch, FlowPolicy, save_policy
from reflow.policies.processors import save_new_processors
from reflow.policies.smolvla.build import build_smolvla
from reflow.policies.smolvla.vlm import VLMSize, build_vlm_folder

TINY = VLMSize(
    image=32, patch=8, scale=2, vision_width=32, vision_layers=1, text_width=32, text_layers=2, heads=2
)
TOP = "observation.images.top"
HEIGHT, WIDTH = 24, 32
TASKS = ("pick up the cube", "put it down")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what LeRobot prints while it builds."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def make_vlm_folder(path: Path) -> Path:
    """A VLM folder of the size all these teachers have."""
    return build_vlm_folder(path, TINY, [f"{task}\n" for task in TASKS])


def make_statistics(action_dim: int, state_dim: int, seed: int = 0) -> dict[str, dict[str, torch.Tensor]]:
    """Normalisation statistics that leave nothing as it was."""
    generator = torch.Generator().manual_seed(seed)
    return {
        key: {
            "mean": torch.randn(width, generator=generator),
            "std": 0.5 + torch.rand(width, generator=generator),
        }
        for key, width in (("observation.state", state_dim), ("action", action_dim))
    }


def make_policy(
    vlm: Path,
    *,
    action_dim: int = 14,
    state_dim: int = 14,
    cameras: Sequence[str] = (TOP,),
    chunk_size: int = 8,
    seed: int = 0,
    **config: Any,
) -> FlowPolicy:
    """An untrained SmolVLA around a VLM folder, in eval mode; the global generator stays as it was."""
    defaults = {"resize_imgs_with_padding": (TINY.image, TINY.image), "num_vlm_layers": TINY.text_layers}
    defaults |= {"n_action_steps": chunk_size, "tokenizer_max_length": 16}
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        flow = build_smolvla(
            vlm,
            state_dim=state_dim,
            action_dim=action_dim,
            cameras=dict.fromkeys(cameras, (3, HEIGHT, WIDTH)),
            chunk_size=chunk_size,
            **(defaults | config),
        )
        with torch.no_grad():
            for name, parameter in flow.named_parameters():
                if parameter.ndim > 1 and ".vlm_with_expert." in name:
                    torch.nn.init.normal_(parameter, std=1.5 * parameter[0].numel() ** -0.5)
    return flow.eval()


def make_teacher_folder(
    path: Path,
    *,
    action_dim: int = 14,
    state_dim: int = 14,
    cameras: Sequence[str] = (TOP,),
    chunk_size: int = 8,
    statistics: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    **config: Any,
) -> Path:
    """A complete ``pretrained_model`` folder of an untrained SmolVLA with its processors.

    Args:
        path: where to.
        action_dim, state_dim, cameras, chunk_size: of the robot.
        statistics: for the normalisation; None makes some up.
        seed: of the weights.
        config: further fields of ``SmolVLAConfig``.
    """
    statistics = statistics or make_statistics(action_dim, state_dim)
    with tempfile.TemporaryDirectory() as scratch:
        flow = make_policy(
            make_vlm_folder(Path(scratch, "smolvlm")),
            action_dim=action_dim,
            state_dim=state_dim,
            cameras=cameras,
            chunk_size=chunk_size,
            seed=seed,
            **config,
        )
        processors = Path(scratch, "processors")
        save_new_processors(flow, statistics, processors)
        return save_policy(flow, processors, path)


def make_batch(flow: FlowPolicy, size: int = 2, seed: int = 0, with_actions: bool = False) -> Batch:
    """A batch as the preprocessor leaves it; every second observation has fewer words.

    With 12 words the prefix has at least 16 tokens, as any real one has. Below 16 many processors' matrix products
    take another path for prefix and suffix together than for the suffix alone, and the last bits differ.
    """
    generator = torch.Generator().manual_seed(seed)
    config = flow.config
    words = 12
    attention = torch.arange(words) < words - (3 + seed % 3) * (torch.arange(size)[:, None] % 2)
    batch: Batch = {
        "observation.state": 0.3
        * torch.randn(size, config.robot_state_feature.shape[0], generator=generator),
        "observation.language.tokens": torch.randint(5, 200, (size, words), generator=generator),
        "observation.language.attention_mask": attention,
    }
    for key, feature in config.image_features.items():
        batch[key] = torch.rand(size, *feature.shape, generator=generator)
    if with_actions:
        space = flow.space
        batch["action"] = torch.randn(size, space.chunk_size, space.action_dim, generator=generator)
        lengths = torch.randint(1, space.chunk_size, (size, 1), generator=generator)
        batch["action_is_pad"] = torch.arange(space.chunk_size) >= lengths
    return batch


def repo_id(root: Path) -> str:
    """The name a local data set goes by."""
    return f"local/{root.name}"


def make_dataset(
    root: Path,
    *,
    action_dim: int = 14,
    state_dim: int = 14,
    cameras: Sequence[str] = (TOP,),
    episodes: int = 4,
    frames: int | Sequence[int] = 12,
    fps: int = 10,
    seed: int = 0,
    video: bool = False,
) -> Path:
    """A LeRobotDataset v3, on disk; every frame, state and action differs from every other.

    Args:
        root: folder to create.
        action_dim, state_dim, cameras: of the robot.
        episodes: how many.
        frames: of every episode, or of each.
        fps: frames per second.
        seed: of the contents.
        video: keep frames as video rather than as images.
    """
    datasets.disable_progress_bars()
    rng = np.random.default_rng(seed)
    camera = {"dtype": "video" if video else "image", "names": ["height", "width", "channels"]}
    features: dict[str, Any] = {key: {**camera, "shape": (HEIGHT, WIDTH, 3)} for key in cameras}
    for key, width in (("observation.state", state_dim), ("action", action_dim)):
        features[key] = {"dtype": "float32", "shape": (width,), "names": [f"joint_{i}" for i in range(width)]}
    dataset = LeRobotDataset.create(
        repo_id(root), fps, features, root=root, robot_type="made_up", use_videos=video
    )
    lengths = [frames] * episodes if isinstance(frames, int) else list(frames)
    for episode, length in zip(range(episodes), lengths, strict=True):
        for _ in range(length):
            frame: dict[str, Any] = {
                key: rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for key in cameras
            }
            frame["observation.state"] = rng.normal(1, 2, state_dim).astype(np.float32)
            frame["action"] = rng.normal(-1, 3, action_dim).astype(np.float32)
            dataset.add_frame(frame | {"task": TASKS[episode % len(TASKS)]})
        dataset.save_episode()
    dataset.finalize()
    return root


def make_distillation(
    teacher: FlowPolicy,
    student: FlowPolicy,
    rule: PaddingRule,
    *,
    time: TimeSampler,
    solver: Solver = EULER,
    num_steps: int | None = None,
    draws: int = 8,
    draw_pool: int | None = None,
    times: int = 1,
    stored: bool = False,
    **settings: Any,
) -> Distillation:
    """A module that learns by reflow, its endpoints live or stored in the batch."""
    live = LiveEndpoints(teacher, solver, num_steps or teacher.num_steps, rule)
    objective = Reflow(time, draws, draw_pool, times)
    endpoints = StoredEndpoints() if stored else live
    return Distillation(teacher, student, objective, endpoints, rule, **settings)


def drawn(module: Distillation, batch: dict[str, Any], draws: int, times: int = 1) -> tuple[Tensor, Tensor]:
    """Noise and times of a training batch, as the module's objective (with a time sampler) draws them."""
    step = module.step(batch)
    return step.noise(draws), step.times(module.objective.time, draws, times)
