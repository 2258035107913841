"""A student in LeRobot's own runtimes: their commands, their processes, a plugin's robot, nothing of ours between."""

from pathlib import Path

import numpy as np
import pytest

from reflow.policies import RTC_FLAG
from tests.runtimes.measure import ASYNC, CHUNK, OFF, RTC, policies
from tests.runtimes.stock import Bench, Played, RuntimeFailedError, boundaries

pytestmark = pytest.mark.slow
NEAR = 0.1
"""rad: twice what the demonstrations' first action is away from where the arms stand, and more."""


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return policies(tmp_path_factory.mktemp("policies"))["student"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def check_sound(played: Played, least: int) -> None:
    """Every action is a number, enough came, and the first is where the robot stood."""
    assert len(played.actions) >= least
    assert np.isfinite(played.actions).all()
    assert played.first_jump < NEAR


def test_lerobot_eval(bench: Bench, student: Path) -> None:
    check_sound(bench.eval(student, "--env.episode_length=20"), 20)


def test_lerobot_rollout(bench: Bench, student: Path) -> None:
    check_sound(bench.rollout(student, seconds=10), 10)


def test_real_time_chunking_jumps_with_its_default_weight_and_not_with_the_flag(
    bench: Bench, student: Path
) -> None:
    """The arms are held, so that a chunk and the next may go for the cube with different arms."""
    default = bench.rollout(student, RTC, OFF, seconds=15)
    flagged = bench.rollout(student, RTC, OFF, RTC_FLAG, seconds=15)
    check_sound(default, 2 * CHUNK)
    check_sound(flagged, 2 * CHUNK)
    assert default.jumps.max() > 3 * flagged.jumps.max()


def test_server_and_client_on_loopback(bench: Bench, student: Path) -> None:
    """A robot in rad is asked for a new chunk when it has played the last: two chunks meet, and only there."""
    played = bench.asynchronous(student, ASYNC, OFF, actions=CHUNK + 20)
    check_sound(played, CHUNK + 20)
    (meeting,) = boundaries(played)
    assert meeting == CHUNK
    assert "Client stopped" in played.said


def test_a_runtime_that_fails_says_why(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailedError, match="nothing"):
        bench.rollout(tmp_path / "nothing", seconds=1)
