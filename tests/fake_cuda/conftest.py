"""A small real policy of each kind, its data, and what distils it; nothing of it is on a GPU yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch

from reflow.data import LeRobotDataModule
from reflow.data.frames import ENDPOINT
from reflow.distill.module import Distillation
from reflow.distill.student import make_student
from reflow.endpoints.source import LiveEndpoints, StoredEndpoints
from reflow.flow import EULER, PaddingRule, UniformTime
from reflow.objectives import (
    Consistency,
    Drifting,
    Endpoint,
    FlowMatching,
    MeanFlow,
    Mip,
    Objective,
    Reflow,
    Shortcut,
    SnapFlow,
)
from reflow.policies import (
    CONTEXT,
    VISION,
    Batch,
    FlowPolicy,
    StorablePrefix,
    load_policy,
    load_processors,
    with_velocity,
)
from tests.builders import make_dataset, repo_id
from tests.contract.conftest import SIZE, subject_of
from tests.fake_cuda.device import GPU

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "consistency": Consistency,
    "drifting": partial(Drifting, 3),
    "endpoint": Endpoint,
    "flow_matching": partial(FlowMatching, UniformTime()),
    "mean_flow": partial(MeanFlow, UniformTime()),
    "mip": Mip,
    "reflow": partial(Reflow, UniformTime()),
    "shortcut": partial(Shortcut, UniformTime()),
    "snapflow": partial(SnapFlow, UniformTime()),
}
STEPS = 2
"""Integration steps of the teacher."""


@dataclass(frozen=True)
class Lesson:
    """A teacher, and what a student of it learns from.

    Attributes:
        folder: of the policy.
        data: its data set.
        batch: of training, on the CPU.
    """

    folder: Path
    data: LeRobotDataModule
    batch: Batch

    def distillation(self, objective: str, stored: bool = False) -> Distillation:
        """The training module, on the CPU.

        Args:
            objective: its name, with its defaults; learning from the teacher's endpoints where it may, if ``stored``.
            stored: endpoints come with the batch.
        """
        from_cache = {"actions": "teacher"} if stored and objective in ("mip", "snapflow") else {}
        teacher = with_velocity(load_policy(self.folder), None)
        rule = PaddingRule(teacher.space, "full", "full", "full")
        student = make_student(teacher, self.folder, rule, num_steps=2 if objective == "mip" else 1)
        endpoints = StoredEndpoints() if stored else LiveEndpoints(teacher, EULER, STEPS, rule)
        return Distillation(teacher, student, OBJECTIVES[objective](**from_cache), endpoints, rule)

    def moved(self, batch: Batch) -> Batch:
        """A batch on the GPU, moved as in training."""
        there: Batch = self.data.transfer_batch_to_device(batch, GPU, 0)
        return there

    def stored(self, teacher: FlowPolicy, draws: int, store: str | None) -> Batch:
        """The batch as a pair cache completes it, on the CPU.

        Args:
            teacher: on the CPU.
            draws: noises per observation.
            store: ``vision`` or ``prefix`` beside the endpoints; None for neither.
        """
        space = teacher.space
        found = self.batch | {ENDPOINT: torch.randn(SIZE, draws, space.chunk_size, space.max_action_dim)}
        if store is None:
            return found
        assert isinstance(teacher, StorablePrefix)
        with torch.no_grad():
            if store == "vision":
                return found | {VISION: teacher.vision_features(self.batch)}
            return found | {CONTEXT: teacher.pack(teacher.encode(self.batch))}


@pytest.fixture(scope="session")
def lesson_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Lesson]:
    """A lesson by policy type, each built once."""
    dataset = make_dataset(tmp_path_factory.mktemp("data") / "set", frames=14)

    @cache
    def build(policy_type: str) -> Lesson:
        folder = subject_of(policy_type, dataset, tmp_path_factory.mktemp(policy_type)).folder
        policy = load_policy(folder)
        preprocess, _ = load_processors(folder, policy)
        where: dict[str, Any] = {"repo_id": repo_id(dataset), "root": dataset, "num_workers": 0}
        data = LeRobotDataModule(policy.config, preprocess, **where, batch_size=SIZE, with_actions=True)
        return Lesson(folder, data, next(iter(data.train_dataloader())))

    return build
