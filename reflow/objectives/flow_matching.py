"""Flow matching: the policy's own loss on the data's actions. No teacher: the control to beat."""

from __future__ import annotations

from collections.abc import Sequence

from reflow.flow import SQUARED, Distance, TimeSampler
from reflow.objectives.reflow import Reflow


class FlowMatching(Reflow):
    """Conditional flow matching (Lipman et al. 2023, eq. 9): the formula of reflow, on noise that knows of no action.

    Time may be drawn from any sampler; leaning towards noise, it is said to give good one-step policies by itself
    ("Let It Be Simple", arXiv 2606.05737). Noise has native width, as stock LeRobot draws it; padding actions are
    zero.

    Args:
        time: where on the path the student is trained.
        draws, draw_pool, distance: see :class:`Objective`.
        times: times per noise; of several numbers the largest.
        rtc_training_max_delay: see :class:`Objective`; here it is the method of Black et al. 2025.
    """

    def __init__(
        self,
        time: TimeSampler,
        draws: int = 2,
        draw_pool: int | None = None,
        times: int | Sequence[int] = 1,
        distance: Distance = SQUARED,
        rtc_training_max_delay: int = 0,
    ) -> None:
        super().__init__(time, draws, draw_pool, times, "data", distance, 0.0, rtc_training_max_delay)
