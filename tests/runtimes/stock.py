"""LeRobot's own runtimes, each in processes of its own, and what they told a robot to do.

Nothing of LeRobot is changed: a plugin's robot (``lerobot_robot_pick``, beside this file) writes down its actions,
and they are read here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from reflow.demo.dataset import TASK
from tests.processes import end

HERE = Path(__file__).parent
GRIPPERS = (6, 13)
"""Of the demo's two arms; they are no angles, and may close at once."""
FPS = 10
"""The simulated world waits between two actions, so that a slow computer plays as a fast one does."""
LIMIT = 600.0


@dataclass(frozen=True)
class Played:
    """What a robot was told.

    Attributes:
        start: the joints before the first action.
        actions: in order, in rad but for the grippers.
        said: what the runtime wrote on the terminal.
    """

    start: Float[np.ndarray, " a"]
    actions: Float[np.ndarray, "n a"]
    said: str

    @property
    def jumps(self) -> Float[np.ndarray, " n-1"]:
        """The largest change of a joint between an action and the next, rad."""
        arms = np.delete(self.actions, GRIPPERS, axis=1)
        return np.abs(np.diff(arms, axis=0)).max(1)

    @property
    def first_jump(self) -> float:
        """From where the robot stood to the first action, rad."""
        return float(np.abs(np.delete(self.actions[0] - self.start, GRIPPERS)).max())


class RuntimeFailedError(RuntimeError):
    """A runtime ended otherwise than it should; says what it wrote."""


@dataclass(frozen=True)
class Bench:
    """A folder with the robot's plugin installed in it, where runtimes run.

    Attributes:
        folder: of whatever they write.
    """

    folder: Path

    def __post_init__(self) -> None:
        name = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["name"]
        about = (
            self.folder / "site" / f"{name}-1.0.dist-info"
        )  # what an installer leaves, beside the code itself
        about.mkdir(parents=True, exist_ok=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")

    @property
    def record(self) -> Path:
        """What the robot writes down."""
        return self.folder / "record.jsonl"

    def eval(self, policy: Path, *flags: str, seed: int = 100000) -> Played:
        """``lerobot-eval``, one episode in the demo's environment."""
        return self._to_its_end(
            _script("lerobot-eval"),
            f"--policy.path={policy}",
            "--policy.device=cpu",
            "--env.type=pick_recorded",
            f"--env.record={self.record}",
            "--eval.n_episodes=1",
            "--eval.batch_size=1",
            f"--seed={seed}",
            f"--output_dir={self.folder / 'eval'}",
            *flags,
        )

    def rollout(self, policy: Path, *flags: str, seconds: float, seed: int = 100000) -> Played:
        """``lerobot-rollout`` on the simulated robot."""
        return self._to_its_end(
            _script("lerobot-rollout"),
            f"--policy.path={policy}",
            "--device=cpu",
            *self._robot(seed),
            f"--task={TASK}",
            f"--fps={FPS}",
            f"--duration={seconds}",
            "--return_to_initial_position=false",
            *flags,
        )

    def asynchronous(
        self, policy: Path, *flags: str, actions: int = 150, server: Sequence[str] = (), seed: int = 100000
    ) -> Played:
        """LeRobot's policy server and its client with the simulated robot, on loopback; stopped by Ctrl-C."""
        self.record.unlink(missing_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        serve = ("-m", "lerobot.async_inference.policy_server", "--host=127.0.0.1", f"--port={port}")
        play = (
            *("-m", "lerobot.async_inference.robot_client", f"--server_address=127.0.0.1:{port}"),
            *self._robot(seed),
            f"--task={TASK}",
            "--policy_type=smolvla",
            f"--pretrained_name_or_path={policy}",
            "--policy_device=cpu",
            f"--fps={FPS}",
            *flags,
        )
        with self._started("server", sys.executable, *serve, f"--fps={FPS}", *server) as serving:
            self._wait(serving, "server", lambda: _listens(port))
            with self._started("client", sys.executable, *play) as client:
                self._wait(client, "client", lambda: len(self._lines("action")) >= actions)
                client.send_signal(signal.SIGINT)
                client.wait(LIMIT)
        return self._played(self._said("server") + self._said("client"))

    def _robot(self, seed: int) -> tuple[str, ...]:
        return (
            "--robot.type=pick_arms",
            "--robot.id=sim",
            f"--robot.calibration_dir={self.folder / 'calibration'}",
            f"--robot.record={self.record}",
            f"--robot.seed={seed}",
        )

    @contextlib.contextmanager
    def _started(self, name: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        paths = (self.folder / "site", HERE, HERE.parents[1])
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_heed_interrupts,
            )
            try:
                yield process
            finally:
                end(process, 10)

    def _to_its_end(self, *command: str) -> Played:
        self.record.unlink(missing_ok=True)
        with self._started("runtime", *command) as process:
            if process.wait(LIMIT) != 0:
                raise RuntimeFailedError(self._said("runtime"))
        return self._played(self._said("runtime"))

    def _wait(self, process: subprocess.Popen[bytes], name: str, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT
        while not there():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeFailedError(self._said(name))
            time.sleep(0.2)

    def _said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _lines(self, what: str) -> list[list[float]]:
        if not self.record.is_file():
            return []
        whole = [line for line in self.record.read_text().splitlines(keepends=True) if line.endswith("\n")]
        lines = map(json.loads, whole)
        return [line["values"] for line in lines if line["what"] == what]

    def _played(self, said: str) -> Played:
        actions, seen = self._lines("action"), self._lines("observation")
        if not actions:
            raise RuntimeFailedError(said)
        return Played(np.array(seen[0]), np.array(actions), said)


def _heed_interrupts() -> None:
    # A shell's background job ignores Ctrl-C, and whatever it starts does, too.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def boundaries(played: Played) -> list[int]:
    """The first action of every chunk but the first, where server and client played: its number.

    LeRobot numbers an observation as the action that was the last to be played, so the first new one is the next.
    Where a chunk came while another was still played, it begins as many actions later as it took to come.
    """
    asked = [int(step) for step in re.findall(r"Running inference for observation #(\d+)", played.said)]
    return [step + 1 for step in asked[1:] if step + 1 < len(played.actions)]
