"""The world goes on while a policy thinks: what is played meanwhile, and when the policy looks again.

A policy looks, thinks for ``delay`` control steps, and answers with a chunk that begins where it looked. Meanwhile
the chunk before is played on; as many actions of the new one as were played of the old are stale and left out. So
does LeRobot's asynchronous client (``lerobot.async_inference``, ``latest_only``): it numbers commands, not ticks of a
clock, and what a chunk holds for a robot that stands still and waits is not stale.

Left out: the thinking itself, which happens at once here, and how long it takes (``reflow.evaluation.measured``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reflow.errors import UserError

HOLD = "hold"

type Idle = str | Sequence[float | str]


@dataclass(frozen=True)
class Timing:
    """When a policy looks, and what of its chunks is played.

    With ``delay`` 0 the world waits for the policy, as in ``lerobot-eval``. Otherwise the policy looks ``delay``
    steps before its ``n_action_steps`` actions are over, so that the next ones are there when they are; a policy
    that is slower looks again as soon as it has answered. One that thinks as long as its chunk lasts, or longer,
    would find every action stale: it finishes its actions, and the robot stands still while it thinks.

    Attributes:
        n_action_steps: actions of a chunk after which the next chunk is there, if the policy is fast enough; None for
            all of the chunk.
        delay: control steps from a look to its chunk, 0 or more.
    """

    n_action_steps: int | None = None
    delay: int = 0

    @property
    def reach(self) -> int | None:
        """Actions of a chunk that can be played at all; None for all of it."""
        if self.n_action_steps is None:
            return None
        return self.delay + max(self.n_action_steps, self.delay)

    def go_on[CommandT](
        self, old: Sequence[CommandT | None], new: Sequence[CommandT]
    ) -> tuple[list[CommandT | None], int]:
        """What is played from a look on, and when the next look is.

        Args:
            old: what would be played without the look.
            new: what the look gives: one or more actions, from the step of the look on.

        Returns:
            The commands from this step on, where None is nothing to do; and the number of control steps to the next
            look, 1 or more.
        """
        lead = (
            self.delay if self.delay < len(new) else 0
        )  # how long before its last action a chunk is followed up
        played = list(old[:lead])
        fresh = new[len(played) :]
        span = len(fresh) if self.n_action_steps is None else min(self.n_action_steps, len(fresh))
        waiting = [None] * (self.delay - len(played))
        return [*played, *waiting, *fresh], self.delay + max(0, span - lead)


def control_steps(ms: float, fps: float) -> int:
    """Control steps that begin while a policy thinks: a latency is never shorter than it is."""
    return math.ceil(ms * fps / 1000)


def check_idle(idle: Idle | None) -> None:
    """Asks whether ``env.idle`` says how a robot stands still.

    Raises:
        UserError: it says nothing, or something else.
    """
    known = idle == HOLD or (
        isinstance(idle, Sequence)
        and not isinstance(idle, str)
        and len(idle) > 0
        and all(entry == HOLD or isinstance(entry, (int, float)) for entry in idle)
    )
    if not known:
        raise UserError(
            f"env.idle={idle}; a robot that waits for its policy is told to stand still: {HOLD} where actions are "
            "absolute (the last one again, at first the state), or one entry per action dimension, a number or "
            f"{HOLD}, where they are not (env.idle=[0,0,0,{HOLD}]: no displacement, the gripper as it was)"
        )


def idle_command(
    idle: Idle | None, last: np.ndarray | None, state: np.ndarray | None, width: int
) -> np.ndarray:
    """The command to a robot that has nothing to do.

    Args:
        idle: of the environment.
        last: command, [a]; None before the first.
        state: that is seen now, [s]; None where the environment shows none as it is.
        width: a, of actions.

    Returns:
        float32 [a]. Held is the last command; before the first, ``hold`` alone is the state, and a single held
        dimension 0.

    Raises:
        UserError: ``idle`` does not fit the action, or there is no state to hold.
    """
    check_idle(idle)
    if idle == HOLD:
        if last is not None:
            return last
        if state is None or len(state) != width:
            there = "shows no state of its own" if state is None else f"shows {len(state)} numbers as state"
            raise UserError(
                f"env.idle={HOLD}: actions have {width} dimensions, and the environment {there}, which cannot be "
                f"commanded; give one entry per action dimension, a number or {HOLD} (env.idle=[0,0,0,{HOLD}])"
            )
        return np.asarray(state, np.float32)
    assert idle is not None
    if len(idle) != width:
        raise UserError(
            f"env.idle has {len(idle)} entries, actions have {width} dimensions; give one each, or {HOLD}"
        )
    before = np.zeros(width, np.float32) if last is None else last
    entries = zip(idle, before, strict=True)
    return np.array([held if entry == HOLD else entry for entry, held in entries], np.float32)
