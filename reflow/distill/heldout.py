"""What the measuring callbacks get to see of one held-out batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class HeldOut:
    """A held-out batch, and what the teacher does with it as deployed.

    Attributes:
        teacher_context: encoded observations, for the teacher.
        student_context: the same for the student (the same object where the prefix is shared).
        randn: full-width noise, as stock inference draws it.
        t: times from the run's own sampler.
        endpoint: the teacher's endpoint from ``randn`` with its stock steps and Euler, as it is.
    """

    teacher_context: Any
    student_context: Any
    randn: Float[Tensor, "b k h d"]
    t: Float[Tensor, "b k"]
    endpoint: Float[Tensor, "b k h d"]
