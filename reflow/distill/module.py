"""The distillation itself: a frozen teacher carries noise to actions, a student learns the straight way.

The training step is the picture in the README, line by line. Everything random comes from (seed, sample,
visit, draw), so no generator state is kept anywhere. Measuring is the callbacks' business; the validation
step only hands them what a deployed teacher does with held-out observations.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor, nn

from reflow.data import ENDPOINT, SAMPLE, VISIT
from reflow.distill.finite import FiniteLoss
from reflow.distill.heldout import HeldOut
from reflow.distill.optim import OptimizerSettings
from reflow.flow import (
    Draws,
    PaddingRule,
    Solver,
    TimeSampler,
    carry,
    couple,
    draw_identities,
    straight_path,
    velocity_loss,
)
from reflow.policies import FlowPolicy, shares_prefix
from reflow.policies.frozen import Frozen

HELD_OUT_DRAWS = 2**40
"""Draw identities of held-out noise start here: no training noise is ever met again."""


class Reflow(L.LightningModule):
    """Distills a teacher into a student of fewer steps.

    Args:
        teacher: frozen here; not registered as a child.
        student: trainable where it should be (:func:`reflow.distill.student.make_student`).
        rule: what happens to padding.
        solver: integrates the teacher.
        num_steps: the teacher's steps; None for its own stock number.
        time: where on the path the student is trained.
        draws: noises per observation and step (K).
        draw_pool: noises that an observation has in all, met again and again; None for never the same twice.
        val_draws: noises per held-out observation.
        times: times per noise at which the student meets its pair; a pair costs the teacher's steps, a time
            only the student's one.
        seed: of noise and time.
        optimizer: settings that differ from the policy's own preset.
    """

    def __init__(
        self,
        teacher: FlowPolicy,
        student: FlowPolicy,
        rule: PaddingRule,
        *,
        solver: Solver,
        time: TimeSampler,
        num_steps: int | None = None,
        draws: int = 8,
        draw_pool: int | None = None,
        times: int = 1,
        val_draws: int = 4,
        seed: int = 0,
        optimizer: OptimizerSettings | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("draws", draws), ("times", times), ("val_draws", val_draws)):
            if value < 1:
                raise ValueError(f"objective.{name} is {value}; allowed: 1 or more")
        self._frozen = Frozen(teacher)
        self.student = student
        self.rule, self.solver, self.time = rule, solver, time
        self.real_rule = replace(rule, loss_dims="real")
        self.num_steps = num_steps or teacher.num_steps
        self.draws, self.draw_pool, self.times, self.val_draws = draws, draw_pool, times, val_draws
        self.random, self._finite = Draws(seed), FiniteLoss()
        self.optimizer_settings = optimizer or OptimizerSettings()
        self.register_state_dict_post_hook(_drop_frozen)
        self.register_load_state_dict_pre_hook(_restore_frozen)

    @property
    def teacher(self) -> FlowPolicy:
        """The frozen teacher."""
        return self._frozen.policy

    def on_fit_start(self) -> None:
        self._frozen.to(self.device)

    def on_validation_start(self) -> None:
        self._frozen.to(self.device)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        teacher_context, student_context = self.encode(batch)
        randn, t = self.draw(batch, self.draws, self.times, pool=self.draw_pool)
        endpoint = batch[ENDPOINT] if ENDPOINT in batch else self.carry(teacher_context, randn)
        coupling = couple(randn, endpoint, self.rule).repeat(self.times)
        point = straight_path(coupling.noise, coupling.action, t)
        v_t = self.student.velocity(student_context, point.x_t, t)
        loss = velocity_loss(v_t, point.u_t, self.rule)
        self._finite.watch(loss, batch[SAMPLE], self.global_step)
        real = velocity_loss(v_t.detach(), point.u_t, self.real_rule)
        return {"loss": loss, "loss_real": real}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> HeldOut:
        teacher_context, student_context = self.encode(batch)
        randn, t = self.draw(batch, self.val_draws, first=HELD_OUT_DRAWS)
        endpoint = self.teacher.walk(teacher_context, randn)
        return HeldOut(teacher_context, student_context, randn, t, endpoint)

    def encode(self, batch: dict[str, Any]) -> tuple[Any, Any]:
        """Contexts for teacher and student: one and the same where they share the prefix."""
        with torch.no_grad():
            context = self.teacher.encode(batch)
        if shares_prefix(self.teacher, self.student):
            return context, context
        return context, self.student.encode(batch)

    def carry(self, teacher_context: Any, randn: Float[Tensor, "b k h d"]) -> Float[Tensor, "b k h d"]:
        """The teacher's endpoints, as this run asks for them."""
        return carry(self.teacher.field(teacher_context), randn, self.num_steps, self.solver, self.rule)

    def draw(
        self, batch: dict[str, Any], draws: int, times: int = 1, first: int = 0, pool: int | None = None
    ) -> tuple[Float[Tensor, "b k h d"], Float[Tensor, "b kt"]]:
        """Noise and times of a batch, by identity.

        Args:
            batch: with ``sample`` and ``visit``.
            draws: noises per observation.
            times: times per noise, one from each of as many equal parts of the time sampler's distribution.
            first: draw identity that the first visit starts from.
            pool: noises that an observation has in all; times are new at every visit nevertheless.

        Returns:
            Noise at native width, and ``k * times`` times in the order of :meth:`Coupling.repeat`.
        """
        sample, visit, space = batch[SAMPLE].cpu(), batch[VISIT].cpu(), self.rule.space
        met = first + draw_identities(visit, draws, pool)
        noise = self.random.noise(sample, met, (space.chunk_size, space.max_action_dim))
        u = self.random.uniform(sample, first + draw_identities(visit, draws))
        t = self.time(((u[..., None] + torch.arange(times)) / times).flatten(1))
        return self._send(noise), self._send(t)

    def _send(self, tensor: Tensor) -> Tensor:
        host = tensor.pin_memory() if self.device.type == "cuda" else tensor  # or the copy would be a wait
        return host.to(self.device, non_blocking=True)

    def configure_optimizers(self) -> Any:
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return self.optimizer_settings.build(self.student.config, trainable, self.trainer.max_steps)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self._finite.guard(optimizer)

    def on_train_end(self) -> None:
        self._finite.look()


def _drop_frozen(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Checkpoints hold what is trained; the frozen rest is in the teacher's folder."""
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            state.pop(prefix + name, None)


def _restore_frozen(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            state.setdefault(prefix + name, parameter.data)
