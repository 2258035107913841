"""Motion: polynomials, stairs, square waves, and the limits of what can be said."""

import math

import pytest
import torch
from torch import Tensor

from reflow.metrics import MotionStatistics
from reflow.metrics.motion import boundary_jumps, gripper_flips, jerk


def _result(motion: MotionStatistics, *sequences: Tensor) -> dict[str, Tensor]:
    for sequence in sequences:
        motion.update(sequence)
    return motion.compute()


def _column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_a_cubic_has_constant_jerk_and_a_parabola_none() -> None:
    fps, seconds = 50, torch.arange(40, dtype=torch.float64)[:, None] / 50
    cubic, parabola = 2 * seconds**3 - seconds, 5 * seconds**2 + 1
    torch.testing.assert_close(
        jerk(cubic, fps), torch.full((37, 1), 12.0, dtype=torch.float64), rtol=1e-6, atol=0
    )
    result = _result(MotionStatistics(fps, 8, action_dim=2), torch.cat([cubic, parabola], dim=1))
    assert result["jerk/joint"].tolist() == pytest.approx([12.0, 0.0], abs=1e-6)
    assert result["jerk"].item() == pytest.approx(12 / math.sqrt(2))


def test_jerk_of_a_sine_is_its_own() -> None:
    # Third derivative of sin(w t): amplitude w**3, root mean square w**3 / sqrt(2).
    w, fps = 2.0, 1000
    sine = torch.sin(w * torch.arange(int(10 * math.pi * fps), dtype=torch.float64) / fps)[:, None]
    assert _result(MotionStatistics(fps, 8, action_dim=1), sine)["jerk"].item() == pytest.approx(
        w**3 / math.sqrt(2), rel=1e-3
    )


def test_a_staircase_jumps_at_boundaries_only() -> None:
    stairs = _column(0, 0, 0, 3, 3, 3, 1, 1, 1)
    result = _result(MotionStatistics(10, 3, action_dim=1), stairs)
    assert result["boundary_jump_mean"].item() == 2.5
    assert result["boundary_jump_max"].item() == 3
    assert result["step_mean"].item() == 0
    # Taken with other chunks, the same stairs are steps within them.
    result = _result(MotionStatistics(10, 5, action_dim=1), stairs)
    assert result["boundary_jump_mean"].item() == 0
    assert result["step_mean"].item() == pytest.approx(5 / 7)


@pytest.mark.parametrize(("steps", "jumps"), [(8, 1), (9, 2), (10, 2), (4, 0), (5, 1)])
def test_there_is_a_jump_wherever_a_chunk_begins_but_the_first(steps: int, jumps: int) -> None:
    between, within = boundary_jumps(torch.rand(steps, 2), n_action_steps=4)
    assert between.shape == (jumps, 2)
    assert within.shape == (steps - 1 - jumps, 2)


def test_a_sequence_within_one_chunk_has_no_jump() -> None:
    motion = MotionStatistics(10, 50, action_dim=1)
    result = _result(motion, _column(0, 1, 2, 3))
    assert result["boundary_jump_mean"].isnan()
    assert result["boundary_jump_max/joint"].isnan().all()
    assert result["step_mean"].item() == 1


def test_when_every_step_is_a_look_every_step_is_a_jump() -> None:
    result = _result(MotionStatistics(10, 1, action_dim=1), _column(0, 1, 3, 3))
    assert result["boundary_jump_mean"].item() == 1
    assert result["step_mean"].isnan()


def test_sequences_of_any_length_are_added_step_by_step() -> None:
    result = _result(
        MotionStatistics(10, 2, [0.0], [1.0]), _column(2, 2, 2, 2), _column(*[0.5] * 10, 2, 2).repeat(1, 1)
    )
    assert result["limit_violations"].item() == 6 / 16


def test_limits_have_a_tolerance_and_two_ends() -> None:
    motion = MotionStatistics(10, 2, [-1.0, 0.0], [1.0, 4.0], tolerance=0.25)
    first = [-1.51, -1.49, 1.49, 1.51]  # the range is 2: half a unit is tolerated
    second = [5.1, 4.9, -0.9, 0.0]
    result = _result(motion, torch.tensor([first, second], dtype=torch.float64).T)
    assert result["limit_violations/joint"].tolist() == [0.5, 0.25]
    assert result["limit_violations"].item() == 0.5  # the first step violates both, and counts once


def test_without_limits_nothing_is_said_of_them() -> None:
    result = _result(MotionStatistics(10, 2, action_dim=1), _column(0, 1, 2, 3))
    assert set(result) == {
        name + joint
        for name in ("jerk", "boundary_jump_mean", "boundary_jump_max", "step_mean")
        for joint in ("", "/joint")
    }


@pytest.mark.parametrize(
    ("opening", "flips"),
    [
        ([0, 0, 1, 1, 0, 0, 1, 1], 3),  # a square wave
        ([0, 0.55, 0.45, 0.55, 0.45, 0.55], 0),  # trembles within the band
        ([0, 0.55, 0.45, 0.65, 0.45, 0.55], 1),
        ([0.5, 0.5, 1, 0.5, 0.5, 1], 0),  # what it is at first is no flip
        ([0.5, 0.5, 0.5, 0.5], 0),
        ([1, 0.5, 0.5, 0.5, 0, 0.5, 0.5, 1], 2),
    ],
)
def test_a_flip_goes_from_one_side_of_the_band_to_the_other(opening: list[float], flips: int) -> None:
    assert gripper_flips(torch.tensor(opening).double(), closed_below=0.5, band=0.1).item() == flips
    lower, upper = -2.0, 6.0
    position = lower + (upper - lower) * torch.tensor(opening)[:, None]
    result = _result(MotionStatistics(10, 2, [lower], [upper], [0]), position)
    assert result["gripper_flips"].item() == flips


def test_flips_are_counted_per_sequence_and_gripper() -> None:
    motion = MotionStatistics(10, 2, [0.0] * 3, [1.0] * 3, grippers=[0, 2])
    wave, still = torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.zeros(4)
    motion.update(torch.stack([wave, wave, still], dim=1))
    motion.update(torch.stack([still, wave, still], dim=1).repeat(2, 1, 1))
    result = motion.compute()
    assert result["gripper_flips/joint"][[0, 2]].tolist() == [1.0, 0.0]
    assert result["gripper_flips/joint"][1].isnan()  # no gripper
    assert result["gripper_flips"].item() == 1.0


def test_a_gripper_closes_where_it_is_told_to() -> None:
    wave = _column(0.2, 0.4, 0.2, 0.4)
    flips = [
        _result(MotionStatistics(10, 2, [0.0], [1.0], [0], closed_below=c, band=0.05), wave)[
            "gripper_flips"
        ].item()
        for c in (0.3, 0.5)
    ]
    assert flips == [3, 0]


def test_a_joint_that_never_moved_has_limits_but_no_middle() -> None:
    result = _result(MotionStatistics(10, 2, [1.0], [1.0], [0]), _column(1, 1 + 1e-6, 1, 0.5))
    assert result["gripper_flips"].item() == 0
    assert result["limit_violations"].item() == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fps": 0.0}, "fps is 0.0; allowed: above 0"),
        ({"fps": math.nan}, "fps is nan; allowed: above 0"),
        ({"n_action_steps": 0}, "chunk_size is 0; allowed: 1 or more"),
        ({"lower": None, "upper": None}, "action_dim is None and lower too; give either"),
        ({"lower": None, "action_dim": 2}, r"lower is None, upper is \[1.0, 1.0\]; allowed: both or neither"),
        ({"upper": None}, r"upper is None; allowed: both or neither"),
        ({"upper": [1.0]}, r"upper has shape \(1,\); allowed: \(2,\)"),
        ({"action_dim": 3}, r"lower has shape \(2,\); allowed: \(3,\)"),
        (
            {"upper": [1.0, -1.0]},
            r"lower is \[0.0, 0.0\], upper \[1.0, -1.0\]; allowed: finite, and lower not",
        ),
        ({"upper": [1.0, math.inf]}, "allowed: finite, and lower not above upper"),
        ({"grippers": [2]}, r"grippers has \[2\]; allowed: joints 0 to 1"),
        ({"grippers": [-1]}, r"grippers has \[-1\]; allowed: joints 0 to 1"),
        (
            {"lower": None, "upper": None, "action_dim": 2, "grippers": [0]},
            r"grippers is \[0\] but there are no limits; give lower and upper",
        ),
        ({"tolerance": -0.1}, "tolerance is -0.1; allowed: 0 or more"),
        ({"band": -0.1}, "band is -0.1; allowed: 0 or more"),
        ({"closed_below": 1.0}, "closed_below is 1.0; allowed: above 0 and below 1"),
    ],
)
def test_errors(arguments: dict[str, object], message: str, as_users_run: None) -> None:
    usual = {"fps": 10.0, "n_action_steps": 2, "lower": [0.0, 0.0], "upper": [1.0, 1.0]}
    with pytest.raises(ValueError, match=message):
        MotionStatistics(**usual | arguments)


def test_sequences_that_say_nothing_are_refused(as_users_run: None) -> None:
    motion = MotionStatistics(10, 2, action_dim=2)
    with pytest.raises(
        ValueError, match=r"actions has 3 steps; allowed: 4 or more: jerk is a third difference"
    ):
        motion.update(torch.zeros(5, 3, 2))
    for shape in ((8, 3), (2,)):
        with pytest.raises(
            ValueError, match=r"actions has shape .*; allowed: \[..., T, 2\]; give whole sequences"
        ):
            motion.update(torch.zeros(shape))
