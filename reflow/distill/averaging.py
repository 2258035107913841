"""Exponential moving average of what is trained; what is frozen is shared, not averaged.

Lightning's own ``EMAWeightAveraging`` copies the whole module and averages every parameter as
``decay * average + (1 - decay) * value``. For a frozen parameter that is a second copy in memory, and a sum of
two equal numbers that rounding moves a little at every step: enough to change a teacher with which it is
shared.
"""

from __future__ import annotations

import copy
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn

from reflow.errors import UserError
from reflow.policies import FlowPolicy


def warm_decay(decay: float, steps: int) -> float:
    """Decay after so many steps: early on less, so that a short run is not averaged with its beginning."""
    return min(decay, (1 + steps) / (10 + steps))


class TrainedWeightsEMA(WeightAveraging):
    """Lightning's weight averaging, exact and without a copy for frozen parameters.

    Args:
        decay: of the average per step, 0 to 1; the average remembers about ``1 / (1 - decay)`` steps. Early on
            it is ``(1 + n) / (10 + n)`` after n steps where that is less, so that a short run is not averaged
            with its beginning.
    """

    def __init__(self, decay: float = 0.995) -> None:
        if not 0.0 <= decay < 1.0:
            raise UserError(f"decay is {decay}; allowed: from 0 up to, but not including, 1")

        super().__init__()
        self.decay = decay

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self._average_model is None:
            return
        # With every name of a tied parameter: Lightning pairs the two modules' parameters by their order.
        for name, parameter in pl_module.named_parameters(remove_duplicate=False):
            if not parameter.requires_grad:
                owner, _, leaf = name.rpartition(".")
                setattr(self._average_model.module.get_submodule(owner), leaf, parameter)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes the average to where the module now is: Lightning makes it before it moves the module.

        The number of updates stays on the host, so that reading it is no wait.
        """
        if self._average_model is not None:
            self._average_model.module.to(pl_module.device)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Updates what is trained, on its device; torch's own update asks for the number of updates each time."""
        if trainer.global_step > self._latest_update_step:
            self._update(pl_module)
            self._latest_update_step = trainer.global_step

    @torch.no_grad()
    def _update(self, module: L.LightningModule) -> None:
        assert self._average_model is not None
        average: Any = self._average_model
        steps, means = int(average.n_averaged), dict(average.module.named_parameters())
        pairs = [(means[name], value) for name, value in module.named_parameters() if value.requires_grad]
        for mean, value in [*pairs, *zip(average.module.buffers(), module.buffers(), strict=True)]:
            if steps and value.is_floating_point():  # a counter among the buffers is none
                mean.lerp_(value, 1.0 - warm_decay(self.decay, steps))
            else:
                mean.copy_(value)
        average.n_averaged += 1

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing: the checkpoint that is written then holds both, like any other."""

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The average becomes the module's; also where a checkpoint of the last step leaves nothing to train."""
        self._copy_average_to_current(pl_module)


class AveragedStudent:
    """A student whose trained weights are the average of another's: a target that some objectives ask for.

    What is frozen is shared with that other. It is no child module of anything: optimizer and weight averaging do not
    see it.

    Args:
        student: the one in training.
        decay: see :class:`TrainedWeightsEMA`.
    """

    def __init__(self, student: FlowPolicy, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise UserError(f"average_decay is {decay}; allowed: from 0 up to, but not including, 1")
        shared: dict[int, Any] = {id(p): p for p in student.parameters() if not p.requires_grad}
        self.policy: FlowPolicy = copy.deepcopy(student, shared).eval().requires_grad_(False)
        self.decay, self.steps = decay, 0
        self._names = [name for name, parameter in student.named_parameters() if parameter.requires_grad]

    @torch.no_grad()
    def update(self, student: FlowPolicy) -> None:
        """After a step of the optimizer."""
        values = dict(student.named_parameters())
        kept = warm_decay(self.decay, self.steps) if self.steps else 0.0
        for name, mean in self._trained().items():
            mean.lerp_(values[name], 1.0 - kept)
        self.steps += 1

    def _trained(self) -> dict[str, nn.Parameter]:
        mine = dict(self.policy.named_parameters())
        return {name: mine[name] for name in self._names}

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on: what is frozen is the teacher's, and not kept again."""
        weights = {name: mean.detach().clone() for name, mean in self._trained().items()}
        return {"steps": self.steps, "weights": weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self.steps = state["steps"]
        for name, mean in self._trained().items():
            mean.data.copy_(state["weights"][name])

    def __deepcopy__(self, memo: dict[int, Any]) -> AveragedStudent:
        """A copy shares it: the average of the weights (:class:`TrainedWeightsEMA`) copies the whole module."""
        return self
