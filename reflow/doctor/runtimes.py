"""What a student meets in LeRobot's own runtimes that its folder cannot settle: real-time chunking.

Left out: speed and success there (``reflow.evaluate``).
"""

from __future__ import annotations

from reflow.doctor.finding import Check, Finding
from reflow.policies import FlowPolicy, is_guided, rtc_flag


def runtimes_check(student: FlowPolicy) -> Check:
    """What is to be known before a student is deployed.

    Args:
        student: as it was loaded from its folder.
    """
    return Check("runtimes", {}, rtc_findings(student.config, student.num_steps))


def rtc_findings(config: object, num_steps: int) -> tuple[Finding, ...]:
    """What LeRobot's real-time chunking makes of a policy of this configuration.

    Args:
        config: LeRobot's, of the student.
        num_steps: the student's integration steps.
    """
    if not is_guided(config):
        return (Finding("rtc_weight", "ok", "LeRobot has no weight of real-time chunking for this policy."),)
    found = []
    if getattr(getattr(config, "rtc_config", None), "enabled", False):
        found.append(
            Finding(
                "rtc_saved",
                "warning",
                "The student's config.json has rtc_config, enabled.",
                "Every runtime that asks select_action (lerobot-eval, lerobot-rollout without "
                "--inference.type=rtc) ends with an AssertionError, and lerobot-rollout with it reads its command "
                "line alone.",
                "rtc_config: null in the student's config.json",
            )
        )
    flag = rtc_flag(num_steps)
    if flag is None:
        found.append(
            Finding("rtc_weight", "ok", f"LeRobot's real-time chunking fits {num_steps} steps as it is.")
        )
        return tuple(found)
    found.append(
        Finding(
            "rtc_weight",
            "note",
            f"LeRobot's real-time chunking corrects a new chunk with a weight of 10 by default; a student of "
            f"{num_steps} step(s) needs {num_steps}.",
            "In one step the default lands ten times as far as it should: actions jump."
            if num_steps == 1
            else "The first step lands too far, and the others have to bring it back.",
            f"lerobot-rollout --inference.type=rtc {flag}",
        )
    )
    return tuple(found)
