"""The flow of one observation: trajectories from many noises, as teacher and student walk them."""

from __future__ import annotations

from reflow.flow import trajectory
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import WHO, Observed, Purpose


def fan(seen: Observed, noises: int) -> Figures:
    """Trajectories of the first observation, each policy with its own steps.

    Of the chunk one step is kept: that in which the teacher's endpoints spread most, where it can be seen whether
    the student takes every way.

    Args:
        seen: a batch; its first observation is shown.
        noises: trajectories of each policy.

    Returns:
        Arrays ``fan/<who>`` ``[k, s + 1, d]`` and ``fan/<who>/times`` ``[s + 1]``, from noise to action.
    """
    noise = seen.noise(Purpose.FAN, noises)
    paths = {
        who: trajectory(
            seen.pair.policy(who).field(seen.contexts[who]),
            noise,
            seen.pair.policy(who).num_steps,
            time_dims=2,
        )
        for who in WHO
    }
    space = seen.pair.policy("teacher").space
    spread = space.real(paths["teacher"].endpoint[0]).var(dim=0).sum(dim=-1)
    step = int(spread.argmax())
    arrays = {}
    for who, path in paths.items():
        arrays[f"fan/{who}"] = path.states[:, 0, :, step].transpose(0, 1)
        arrays[f"fan/{who}/times"] = path.times
    return figures({}, arrays)
