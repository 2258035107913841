"""The distillation itself: a frozen teacher, a student, and an objective that says what the student learns.

The module keeps devices, optimizer, freezing and averages; the formula is the objective's (:mod:`reflow.objectives`).
Everything random comes from (seed, sample, visit, draw), so no generator state is kept anywhere. Measuring is a
callback's business (:class:`reflow.distill.callbacks.Measure`); the module logs its own loss.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from reflow.data import SAMPLE
from reflow.distill.averaging import AveragedStudent
from reflow.distill.finite import FiniteNumbers
from reflow.distill.optim import OptimizerSettings
from reflow.endpoints.source import Endpoints
from reflow.errors import UserError
from reflow.flow import Draws, PaddingRule
from reflow.objectives import Objective, Step
from reflow.policies import FlowPolicy, shares_prefix
from reflow.policies.frozen import Frozen


class Distillation(L.LightningModule):
    """Distills a teacher into a student of fewer steps.

    Args:
        teacher: frozen here; not registered as a child.
        student: trainable where it should be (:func:`reflow.distill.student.make_student`).
        objective: what the student learns; parameters of its own are trained with the student.
        endpoints: where the teacher carries noise to, live or from a pair cache.
        rule: what happens to padding.
        val_draws: noises per held-out observation.
        seed: of noise and time.
        noise_seed: of the noise alone; None for ``seed``.
        optimizer: settings that differ from the policy's own preset.
    """

    def __init__(
        self,
        teacher: FlowPolicy,
        student: FlowPolicy,
        objective: Objective,
        endpoints: Endpoints,
        rule: PaddingRule,
        *,
        val_draws: int = 4,
        seed: int = 0,
        noise_seed: int | None = None,
        optimizer: OptimizerSettings | None = None,
    ) -> None:
        super().__init__()
        if val_draws < 1:
            raise UserError(f"val_draws is {val_draws}; allowed: 1 or more")
        self._frozen = Frozen(teacher)
        self.student, self.objective = student, objective
        objective.check(student, rule)
        objective.prepare(student)
        decay = objective.average_decay
        self.average = None if decay is None else AveragedStudent(student, decay)
        self.endpoints, self.rule, self.val_draws = endpoints, rule, val_draws
        self.random, self._finite = Draws(seed, noise_seed), FiniteNumbers()
        self.optimizer_settings = optimizer or OptimizerSettings()
        self.register_state_dict_post_hook(_drop_frozen)
        self.register_load_state_dict_pre_hook(_restore_frozen)

    @property
    def teacher(self) -> FlowPolicy:
        """The frozen teacher."""
        return self._frozen.policy

    def trained_student(self) -> FlowPolicy:
        """The student, on the CPU and in eval mode, whole in every process. A collective."""
        return self.student.eval().cpu()

    def on_fit_start(self) -> None:
        self._frozen.to(self.device)
        if self.average is not None:
            self.average.policy.to(self.device)

    def on_validation_start(self) -> None:
        self._frozen.to(self.device)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # Not at a batch's end: by then its checkpoint is written, and a run that goes on from it would miss a step.
        if self.average is not None and self.average.steps < self.global_step:
            self.average.update(self.student)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        self._finite.note(batch)
        loss = self.objective(self.step(batch))
        self._finite.watch(loss.value, batch[SAMPLE], self.global_step)
        return {"loss": loss.value, "loss_real": loss.real}

    def step(self, batch: dict[str, Any]) -> Step:
        """What the objective gets to see of a batch."""
        teacher_context, student_context = self.encode(batch)
        return Step(
            self.teacher,
            self.student,
            None if self.average is None else self.average.policy,
            teacher_context,
            student_context,
            self.rule,
            batch,
            self._endpoints,
            self.random,
            self._send,
        )

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Nothing: held-out batches are for the measuring callback."""

    def encode(self, batch: dict[str, Any]) -> tuple[Any, Any]:
        """Contexts for teacher and student: one and the same where they share the prefix."""
        with torch.no_grad():
            context = self.teacher.encode(batch)
        if shares_prefix(self.teacher, self.student):
            return context, context
        return context, self.student.encode(batch)

    def _endpoints(self, batch: dict[str, Any], context: Any, randn: Tensor) -> Tensor:
        endpoints = self.endpoints(batch, context, randn)
        self._finite.note({"the teacher's endpoint": endpoints})
        return endpoints

    def _send(self, tensor: Tensor) -> Tensor:
        host = tensor.pin_memory() if self.device.type == "cuda" else tensor  # or the copy would be a wait
        return host.to(self.device, non_blocking=True)

    def configure_optimizers(self) -> Any:
        trainable = {
            name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad
        }
        return self.optimizer_settings.build(self.student.config, trainable, self.trainer.max_steps)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        scaled = getattr(
            self.trainer.precision_plugin, "scaler", None
        )  # float16: it expects infinite gradients
        self._finite.guard(optimizer, () if scaled else self.named_parameters())

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        losses = {"train/loss": outputs["loss"], "train/loss_real": outputs["loss_real"]}
        self.log_dict(losses, prog_bar=True, sync_dist=self.trainer.world_size > 1)

    def on_train_end(self) -> None:
        self._finite.look()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._finite.look()  # a checkpoint is of a sound run
        if self.average is not None:
            checkpoint["averaged_student"] = self.average.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.average is not None:
            self.average.load_state_dict(checkpoint["averaged_student"])


def _drop_frozen(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Checkpoints hold what is trained; the frozen rest is in the teacher's folder."""
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            state.pop(prefix + name, None)


def _restore_frozen(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            state.setdefault(prefix + name, parameter.data)
