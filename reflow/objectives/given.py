"""Training-time real-time chunking: the first actions of a chunk are known, the student learns the rest.

While a policy thinks, the robot plays on what it was told last. Those actions are given to the next chunk (Black et
al. 2025, "Training-Time Action Conditioning for Efficient Real-Time Chunking", arXiv 2512.05964): nothing jumps, and
no guidance is computed on the robot.

The paper, and LeRobot for pi0.5, give each action a flow time of its own, that of a clean action where it is known.
LeRobot's SmolVLA has one time for all actions of a chunk. Here a given action stands in the place of its noise,
whatever the time, and its padding is zero, which no noise is: so the student tells the two apart, and LeRobot's own
``predict_action_chunk(batch, noise=...)`` lets them in (:func:`reflow.policies.joining.given_noise`). Their path
stands still, so that any number of steps gives them back.
"""

from __future__ import annotations

from reflow.errors import UserError
from reflow.flow import PaddingRule
from reflow.policies import FlowPolicy


def check_given(most: int, student: FlowPolicy, rule: PaddingRule) -> None:
    """Asks whether a student can tell given actions from noise.

    Args:
        most: actions that may be given.
        student: to be trained.
        rule: what happens to padding.

    Raises:
        UserError: it cannot: there is no padding, or no noise in it; or a chunk would be given whole.
    """
    said = f"objective.rtc_training_max_delay={most}"
    if most >= student.space.chunk_size:
        raise UserError(
            f"{said}, but a chunk has {student.space.chunk_size} actions; allowed: fewer, for the student is to "
            "learn the rest"
        )
    if student.padding != "free":
        why = "has no padding" if student.padding == "none" else "holds its padding at zero"
        raise UserError(
            f"{said}: given actions are told from noise by their padding, and this policy of type "
            f"{student.config.type} {why}; train it without (objective.rtc_training_max_delay=0), and join "
            "its chunks by LeRobot's guidance"
        )
    if rule.noise_dims != "full" or rule.inert:
        asked = "padding.inert=true" if rule.inert else f"padding.noise={rule.noise_dims}"
        raise UserError(
            f"{said} with {asked}: given actions are told from noise by their padding, which has to have noise; "
            "choose +fix=full32"
        )
