"""The flow of one observation: trajectories from many noises, as every policy integrates them."""

from __future__ import annotations

from reflow.errors import UserError
from reflow.flow import trajectory
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import TEACHER, Observations, Observed, Purpose
from reflow.probes.probe import Probe


class FlowOfOneObservation(Probe):
    """Arrays ``fan/<who>`` ``[k, s + 1, d]`` and ``fan/<who>/times`` ``[s + 1]``, from noise to action; no figure.

    The first observation is shown, each policy with its own steps. Of the chunk one step is kept: that in which the
    teacher's endpoints spread most, where it can be seen whether the student takes every way. Asked for in the final
    measurement only.

    Args:
        noises: trajectories of each policy.

    Raises:
        UserError: fewer than 2.
    """

    def __init__(self, noises: int = 16) -> None:
        if noises < 2:
            raise UserError(f"noises is {noises}; allowed: 2 or more, for one way is no fan")
        self.noises = noises

    def start(self, by: Observations, *, thorough: bool = True) -> None:
        """Forgets the observation."""
        super().start(by, thorough=thorough)
        self._found = Figures()

    def update(self, seen: Observed) -> None:
        """Takes the first batch."""
        if not self.thorough or self._found.arrays:
            return
        noise = seen.noise(Purpose.FAN, self.noises)
        paths = {
            who: trajectory(policy.field(seen.context(who)), noise, policy.num_steps, time_dims=2)
            for who, policy in seen.by.policies.items()
        }
        spread = seen.by.space.real(paths[TEACHER].endpoint[0]).var(dim=0).sum(dim=-1)
        step = int(spread.argmax())
        states = {f"fan/{who}": path.states[:, 0, :, step].transpose(0, 1) for who, path in paths.items()}
        self._found = figures({}, states | {f"fan/{who}/times": path.times for who, path in paths.items()})

    def result(self) -> Figures:
        """The trajectories."""
        return self._found
