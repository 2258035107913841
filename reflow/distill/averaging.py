"""Exponential moving average of what is trained; what is frozen is shared, not averaged.

Lightning's own ``EMAWeightAveraging`` copies the whole module and averages every parameter as
``decay * average + (1 - decay) * value``. For a frozen parameter that is a second copy in memory, and a sum of
two equal numbers that rounding moves a little at every step: enough to change a teacher with which it is
shared.
"""

from __future__ import annotations

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class TrainedWeightsEMA(WeightAveraging):
    """Lightning's weight averaging, exact and without a copy for frozen parameters.

    Args:
        decay: of the average per step, 0 to 1; the average remembers about ``1 / (1 - decay)`` steps. Early on
            it is ``(1 + n) / (10 + n)`` after n steps where that is less, so that a short run is not averaged
            with its beginning.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay is {decay}; allowed: from 0 up to, but not including, 1")

        def average(mean: Tensor, value: Tensor, n: Tensor | int) -> Tensor:
            warm = min(decay, (1 + int(n)) / (10 + int(n)))
            return torch.lerp(mean, value, 1.0 - warm)

        super().__init__(avg_fn=average)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self._average_model is None:
            return
        # With every name of a tied parameter: Lightning pairs the two modules' parameters by their order.
        for name, parameter in pl_module.named_parameters(remove_duplicate=False):
            if not parameter.requires_grad:
                owner, _, leaf = name.rpartition(".")
                setattr(self._average_model.module.get_submodule(owner), leaf, parameter)
