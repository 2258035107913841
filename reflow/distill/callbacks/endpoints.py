"""Where integration ends, student against teacher, by number of velocity calls; and the floors beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
from torchmetrics import MetricCollection

from reflow.distill.callbacks.base import Measurement
from reflow.distill.heldout import HeldOut
from reflow.distill.module import Distillation
from reflow.metrics import EndpointError


class EndpointErrors(Measurement):
    """Logs ``student/endpoint_error@n``; in the final measurement also the floors.

    The floors are ``teacher/endpoint_error@n`` (the teacher at n steps, without distillation) and
    ``teacher/solver_error`` (its own step count against ``reference_steps``). They do not change during
    training, so they are measured once.

    Args:
        nfe: numbers of Euler steps.
        reference_steps: steps of the reference solution.
    """

    def __init__(self, nfe: Sequence[int] = (1, 2, 4, 10), reference_steps: int = 100) -> None:
        if not nfe or min(nfe) < 1:
            raise ValueError(f"nfe is {list(nfe)}; allowed: one or more numbers of steps, each 1 or more")
        self.nfe, self.reference_steps = tuple(nfe), reference_steps

    def setup(self, trainer: L.Trainer, pl_module: Distillation, stage: str) -> None:
        names = [f"student/endpoint_error@{n}" for n in self.nfe]
        if stage == "validate":
            names += [f"teacher/endpoint_error@{n}" for n in self.nfe] + ["teacher/solver_error"]
        self._errors = MetricCollection({name: EndpointError(pl_module.rule.space) for name in names})

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: Distillation,
        outputs: HeldOut,
        batch: Any,
        batch_idx: int,
        *_: Any,
    ) -> None:
        self._errors.to(outputs.endpoint.device)
        for n in self.nfe:
            end = pl_module.student.walk(outputs.student_context, outputs.randn, n)
            self._errors[f"student/endpoint_error@{n}"].update(end, outputs.endpoint)
        if "teacher/solver_error" not in self._errors:
            return
        teacher, context = pl_module.teacher, outputs.teacher_context
        for n in self.nfe:
            end = teacher.walk(context, outputs.randn, n)
            self._errors[f"teacher/endpoint_error@{n}"].update(end, outputs.endpoint)
        # One noise per observation is enough for the reference, which costs 100 calls each.
        reference = teacher.walk(context, outputs.randn[:, :1], self.reference_steps)
        self._errors["teacher/solver_error"].update(outputs.endpoint[:, :1], reference)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Distillation) -> None:
        values = {name: metric.compute().float() for name, metric in self._errors.items()}
        pl_module.log_dict(values)
        self._errors.reset()
