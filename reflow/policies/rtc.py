"""Real-time chunking of a student in LeRobot: the default weight is wrong for few steps; the flag that is right.

LeRobot pulls a new chunk towards what is still to be played of the old one (``lerobot.policies.rtc``): at t = 1 it
adds ``max_guidance_weight`` times the wanted correction to the velocity. A first step of 1/n then moves by weight / n
of it, so the weight that fits is the number of steps. With the default of 10 a one-step student lands ten times too
far, and nothing comes after that step to mend it.

The weight cannot be saved with a student: ``lerobot-rollout`` puts its own settings in the place of those in
``config.json``, and a saved ``rtc_config`` makes every runtime that asks ``select_action`` fail. So it is saved as
null (:func:`reflow.policies.save_policy`), and said wherever a student is handed over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reflow.files import read_json
from reflow.policies.files import CONFIG

RTC_CONFIG = "rtc_config"
"""LeRobot's field of the policies that it guides."""
DEFAULT_WEIGHT = 10
"""LeRobot's own; right for a policy of ten steps."""
_FLAG = "--inference.rtc.max_guidance_weight="
RTC_FLAG = f"{_FLAG}1"
"""What a one-step student wants of ``lerobot-rollout --inference.type=rtc``."""


def rtc_flag(num_steps: int) -> str | None:
    """The flag for a student of so many steps, 1 or more; None where LeRobot's default fits."""
    return f"{_FLAG}{num_steps}" if num_steps < DEFAULT_WEIGHT else None


def is_guided(config: Any) -> bool:
    """Whether LeRobot's real-time chunking guides policies of this configuration, by a weight."""
    return hasattr(config, RTC_CONFIG)


def rtc_hint(folder: Path, num_steps: int, given: int = 0) -> str | None:
    """What whoever deploys a student has to know of real-time chunking, in a line.

    Args:
        folder: of the student.
        num_steps: its integration steps.
        given: first actions of a chunk that it was trained to be given; 0: none.

    Returns:
        The line with the flag; None where LeRobot does not guide such a policy, or its default weight fits, and none
        is given, or the student is no longer there.
    """
    flag, file = rtc_flag(num_steps), folder / CONFIG
    config = read_json(file) if file.is_file() else None
    if not isinstance(config, dict):
        return None
    said = []
    if flag is not None and RTC_CONFIG in config:
        said.append(
            f"lerobot-rollout --inference.type=rtc needs {flag} with it (LeRobot's default makes it jump)"
        )
    if given:
        said.append(
            f"trained to be given up to {given} first actions through predict_action_chunk(batch, noise=...), "
            "without guidance (docs/runtimes.md of reflow)"
        )
    return "; ".join(said) or None
