"""A field that is known exactly behind the interface of a policy; and a small real teacher with data of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reflow.data import SAMPLE, VISIT, load_metadata
from reflow.flow import ActionSpace, Draws
from reflow.policies import Batch, FlowPolicy
from reflow.probes import Observations, Observed
from tests.builders import make_dataset, make_teacher_folder, repo_id

SPACE = ActionSpace(3, 5, chunk_size=4)
Field = Callable[[Tensor, Tensor], Tensor]


class FieldPolicy(FlowPolicy[Tensor]):
    """A velocity field given as a function of ``x_t`` and ``t`` (with two dimensions of size 1 behind)."""

    def __init__(self, field: Field, num_steps: int = 4, space: ActionSpace = SPACE) -> None:
        nn.Module.__init__(self)
        self.weight = nn.Parameter(torch.zeros(1))
        self._field, self._steps, self._space = field, num_steps, space

    @property
    def space(self) -> ActionSpace:
        return self._space

    @property
    def num_steps(self) -> int:
        return self._steps

    @num_steps.setter
    def num_steps(self, value: int) -> None:
        self._steps = value

    def encode(self, batch: dict[str, Any]) -> Tensor:
        return batch["observation.state"]

    def velocity(self, context: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        return self._field(x_t, t[..., None, None])


def straight(action: Tensor, padding: Field) -> Field:
    """Straight lines to ``action`` on real dimensions, and whatever ``padding`` says on the others."""

    def field(x_t: Tensor, t: Tensor) -> Tensor:
        return torch.cat([(SPACE.real(x_t) - action) / t, padding(SPACE.padding(x_t), t)], dim=-1)

    return field


def seen_by(policy: FlowPolicy, batch: Batch, draws: int = 2, **students: FlowPolicy) -> Observed:
    """A batch without identities, as a teacher and students of it see it."""
    size = len(batch["observation.state"])
    identity = {SAMPLE: torch.arange(size), VISIT: torch.zeros(size, dtype=torch.int64)}
    return Observations({"teacher": policy, **students}, Draws(0), draws).see(batch | identity)


def looks(
    policy: FlowPolicy, observations: int = 6, draws: int = 4, batches: int = 2, **students: FlowPolicy
) -> tuple[Observed, ...]:
    """Made-up observations, seen by a teacher and students of it."""
    size = observations // batches
    found = [
        {
            SAMPLE: torch.arange(size) + i * size,
            VISIT: torch.zeros(size, dtype=torch.int64),
            "observation.state": torch.zeros(size, 2),
        }
        for i in range(batches)
    ]
    return Observations({"teacher": policy, **students}, Draws(0), draws).see_all(found)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="session")
def meta(dataset: Path) -> Any:
    return load_metadata(repo_id(dataset), dataset)


@pytest.fixture(scope="session")
def teacher_folder(meta: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "pretrained_model"
    return make_teacher_folder(path, statistics=meta.stats, num_steps=4)
