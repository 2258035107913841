"""Policies in their published sizes, on the meta device: as many parameters as their authors say."""

import pytest
import torch

from reflow.policies import policy_types
from reflow.policies.real import REAL, without_weights

# Billions of parameters as LeRobot's classes make them. SmolVLA's paper says 0.45, EVO-1's 0.77, X-VLA's 0.9, GR00T
# N1.7's name 3; openpi's pi0 of 3.3 is without the two heads over words (0.79) that LeRobot's class has besides.
PUBLISHED = {
    "smolvla": 0.45,
    "pi0": 4.03,
    "pi05": 4.14,
    "multi_task_dit": 0.22,
    "evo1": 0.775,
    "eo1": 3.77,
    "groot": 3.14,
    "vla_jepa": 2.28,
    "xvla": 0.877,
}
SERVED = [name for name in REAL if name in policy_types()]


@pytest.mark.parametrize("policy_type", SERVED)
def test_a_policy_of_the_published_size_takes_no_memory(policy_type):
    flow = without_weights(policy_type)
    assert {parameter.device for parameter in flow.parameters()} == {torch.device("meta")}
    count = sum(parameter.numel() for parameter in flow.parameters())
    assert count / 1e9 == pytest.approx(PUBLISHED[policy_type], rel=0.01)


def test_every_policy_that_is_served_has_its_size():
    assert set(policy_types()) <= set(REAL)
