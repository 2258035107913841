"""What happens on the padding: noise, endpoints, velocity, and how far padding reaches into real dimensions."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from reflow.distill.callbacks.base import Measurement
from reflow.distill.heldout import HeldOut
from reflow.distill.module import HELD_OUT_DRAWS, Distillation
from reflow.flow import ActionSpace, PaddingRule
from reflow.metrics import PaddingStatistics as Statistics
from reflow.metrics import RepaddingDifference, Sensitivity

_WHO = ("teacher", "student")


class PaddingStatistics(Measurement):
    """Logs the founding report's padding table, for teacher and student, on held-out observations.

    ``padding/<who>/<what>_<statistic>`` on padding dimensions and ``real/...`` on real ones, where who is
    ``teacher``, ``student`` or ``training``, what is ``endpoint``, ``velocity`` (at t=1) or ``noise``. Beside
    them ``padding/teacher/repadding_{max,mean}`` (full against re-padded endpoint) and
    ``padding/<who>/sensitivity`` (padding noise drawn anew) and ``.../sensitivity_zeroed`` (set to zero).
    TensorBoard also gets histograms.
    """

    def setup(self, trainer: L.Trainer, pl_module: Distillation, stage: str) -> None:
        space = pl_module.rule.space
        self._statistics = {
            name: Statistics(space)
            for name in (
                "training/noise",
                "teacher/endpoint",
                "student/endpoint",
                "teacher/velocity",
                "student/velocity",
            )
        }
        self._repadding = RepaddingDifference(space)
        self._sensitivity = {
            (who, how): Sensitivity(space) for who in _WHO for how in ("sensitivity", "sensitivity_zeroed")
        }
        self.histograms: dict[str, tuple[Tensor, Tensor]] = {}
        """Per figure, values on real and on padding dimensions of the last validation batch."""

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: Distillation,
        outputs: HeldOut,
        batch: Any,
        batch_idx: int,
        *_: Any,
    ) -> None:
        space, student = pl_module.rule.space, pl_module.student
        at_noise = torch.ones_like(outputs.t)
        tensors = {
            "training/noise": pl_module.rule.noise(outputs.randn),
            "teacher/endpoint": outputs.endpoint,
            "student/endpoint": student.walk(outputs.student_context, outputs.randn),
            "teacher/velocity": pl_module.teacher.velocity(outputs.teacher_context, outputs.randn, at_noise),
            "student/velocity": student.velocity(outputs.student_context, outputs.randn, at_noise),
        }
        for who_what, tensor in tensors.items():
            self._statistics[who_what].to(tensor.device).update(tensor)
        self._repadding.to(outputs.endpoint.device).update(outputs.endpoint)
        self.histograms = {
            name: (space.real(values).flatten().cpu(), space.padding(values).flatten().cpu())
            for name, values in tensors.items()
        }
        if space.padding_dim:
            # One noise per observation is enough here; each costs another walk of the teacher.
            start, ends = outputs.randn[:, :1], {who: tensors[f"{who}/endpoint"][:, :1] for who in _WHO}
            redrawn = pl_module.draw(batch, 1, first=2 * HELD_OUT_DRAWS)[0]
            for how, other in (
                ("sensitivity", _with_padding_of(space, start, redrawn)),
                ("sensitivity_zeroed", PaddingRule(space, noise_dims="real").noise(start)),
            ):
                for who, policy, context in (
                    ("teacher", pl_module.teacher, outputs.teacher_context),
                    ("student", student, outputs.student_context),
                ):
                    metric = self._sensitivity[who, how].to(other.device)
                    metric.update(ends[who], policy.walk(context, other))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Distillation) -> None:
        for name, statistics in self._statistics.items():
            for key, value in statistics.compute().items():
                part, statistic = key.split("/")
                pl_module.log(f"{part}/{name}_{statistic}", value.float())
            statistics.reset()
        if pl_module.rule.space.padding_dim:
            for key, value in self._repadding.compute().items():
                pl_module.log(f"padding/teacher/repadding_{key}", value.float())
            for (who, how), sensitivity in self._sensitivity.items():
                pl_module.log(f"padding/{who}/{how}", sensitivity.compute().float())
                sensitivity.reset()
        self._repadding.reset()
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for name, parts in self.histograms.items():
                    for part, values in zip(("real", "padding"), parts, strict=True):
                        if values.numel():
                            logger.experiment.add_histogram(f"{part}/{name}", values, trainer.global_step)


def _with_padding_of(
    space: ActionSpace, real_from: Float[Tensor, "*b d"], padding_from: Float[Tensor, "*b d"]
) -> Float[Tensor, "*b d"]:
    return torch.cat([space.real(real_from), space.padding(padding_from)], dim=-1)
