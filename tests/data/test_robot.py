"""Joints have names, whatever the data set says about them."""

from types import SimpleNamespace
from typing import Any

import pytest

from reflow.data.robot import joint_names

NUMBERED = ("joint_0", "joint_1", "joint_2")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b", "c"], ("a", "b", "c")),
        (("a", "b", "c"), ("a", "b", "c")),
        (["left/a", "b", 3], ("left_a", "b", "3")),
        ({"motors": ["a", "b", "c"]}, ("a", "b", "c")),
        ({"b": 1, "a": 0, "c": 2}, ("a", "b", "c")),
        ({"axes": ["a"], "more": ["b", "c"]}, ("a", "b", "c")),
        (None, NUMBERED),
        ([], NUMBERED),
        (["a", "b"], NUMBERED),
        (["motor", "motor", "motor"], NUMBERED),  # their figures would overwrite each other
        ([["a", "b", "c"]], NUMBERED),
        ("abc", NUMBERED),
        (7, NUMBERED),
    ],
)
def test_names_of_joints(names: Any, expected: tuple[str, ...]) -> None:
    meta: Any = SimpleNamespace(features={"action": {"shape": (3,), "names": names}})
    assert joint_names(meta, "action", 3) == expected


def test_a_feature_that_is_not_there() -> None:
    meta: Any = SimpleNamespace(features={})
    assert joint_names(meta, "action", 3) == NUMBERED
