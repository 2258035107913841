"""A real SLURM cluster on this machine, for as long as tests run: munged, mariadbd, slurmdbd, slurmctld, two slurmd.

Everything it writes lies in one folder, its ports are free ones, and its daemons are ended by their ids: a SLURM that
the machine has otherwise is neither read nor touched. Two nodes of one processor each, two partitions: jobs in
``urgent`` preempt those in ``main``, which go back into the queue.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.processes import end
from tests.slurm.settings import ACCOUNT, GRES_CONF, PASSWORD, SLURM_CONF, SLURMDBD_CONF

PACKAGES = [
    "slurmctld",
    "slurmd",
    "slurm-client",
    "slurmdbd",
    "munge",
    "mariadb-server-core",
    "mariadb-client-core",
]
PROGRAMS = ["slurmctld", "slurmd", "sbatch", "slurmdbd", "munged", "mariadbd", "mariadb-install-db"]
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
NODES = ("first", "second")
PORTS = (*NODES, "controller", "accounting", "database")


class NotInstallableError(RuntimeError):
    """SLURM is not here, and cannot be installed; says what to install."""


def install() -> None:
    """Installs what is missing, from Debian's packages.

    Raises:
        NotInstallableError: that cannot be done here.
    """
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NotInstallableError(
            f"there is no {', '.join(missing)}; root on a Debian machine has it installed, others install "
            f"{' '.join(PACKAGES)}, and give the command as root: SLURM's own user"
        )
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(
            ["apt-get", "--quiet", *command],
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise NotInstallableError(f"apt-get {command[0]} failed:\n{done.stdout[-2000:]}{done.stderr}")


def wait_for(what: str, ready: Callable[[], object], seconds: float, every: float = 0.2) -> None:
    """Until it is so.

    Raises:
        TimeoutError: it never was.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds} s still not: {what}")
        time.sleep(every)


@dataclass(frozen=True)
class Cluster:
    """The commands of a running cluster.

    Attributes:
        environment: in which SLURM's commands find it; jobs inherit it.
    """

    environment: dict[str, str]

    def call(self, *command: str) -> str:
        """The standard output of one of SLURM's commands.

        Raises:
            RuntimeError: it failed; says how.
        """
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}{done.stdout}")
        return done.stdout.strip()

    def idle(self, node: str) -> bool:
        """Whether a node waits for jobs."""
        return (
            self.call("sinfo", "--noheader", "--format=%t", f"--nodes={node}", "--partition=main") == "idle"
        )

    def submit(self, script: Path, *options: str, then: tuple[str, ...] = ()) -> str:
        """The number of a job that runs a script with these arguments."""
        return self.call("sbatch", "--parsable", *options, str(script), *then)

    def sweep(self, where: Path, *words: str) -> subprocess.Popen[str]:
        """A sweep by Hydra's launcher, given in a folder."""
        command = [sys.executable, "-m", "reflow.train", "-m", "+launcher=slurm", *words]
        command += ["hydra.launcher.cpus_per_task=1"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=where, env=self.environment, text=True, **pipes)  # type: ignore[call-overload]

    def state(self, job: str) -> str:
        """What a job does now, in SLURM's word: PENDING, RUNNING, ..."""
        shown = self.call("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}")
        return " ".join(sorted(set(shown.split())))

    def lives(self, job: str) -> list[str]:
        """How a job ended, once for each time that it was started; the accounting hears of it a moment later."""

        def states() -> list[str]:
            return [line.split()[0] for line in self._accounting(job, "State").splitlines()]

        wait_for(f"the end of job {job} accounted for", lambda: not {"PENDING", "RUNNING"} & {*states()}, 60)
        return states()

    def wait(self, job: str, state: str = "COMPLETED", seconds: float = 480) -> None:
        """Until a job (all elements of an array) is in a state.

        Raises:
            AssertionError: it ended in another.
            TimeoutError: it did not get there.
        """

        def there() -> bool:
            now = set(self.state(job).split())
            bad = now & {"FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL"} - {state}
            assert not bad, f"job {job}:\n{self._accounting(job, 'State,ExitCode,DerivedExitCode,Start,End')}"
            return now == {state}

        wait_for(f"job {job} {state}", there, seconds, every=0.5)

    def _accounting(self, job: str, fields: str) -> str:
        ways = ("--noheader", "--parsable2", "--allocations", "--duplicates")
        return self.call("sacct", *ways, f"--format={fields}", f"--jobs={job}")

    def end_jobs(self) -> None:
        """Cancels what there is, and waits until it is gone."""
        self.call("scancel", "--user=root", "--quiet")
        wait_for("all jobs gone", lambda: not self.call("squeue", "--noheader"), 60)


@contextmanager
def cluster(folder: Path, jobs: Mapping[str, str]) -> Iterator[Cluster]:
    """A cluster that is ready for jobs; at the end its jobs are cancelled and its daemons ended, whatever happened.

    Args:
        folder: for all of its files; of a short path, for the sake of its sockets.
        jobs: more environment for them.

    Raises:
        RuntimeError: a daemon ended, or is not ready after a minute; with the end of its log.
    """
    munge, database = folder / "munge", folder / "database"
    for path in (munge, database, folder / "state", folder / "spool"):
        path.mkdir(mode=0o700, parents=True)
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    values = {"folder": folder, "host": socket.gethostname().partition(".")[0], "password": PASSWORD} | ports
    texts = {
        "slurm.conf": SLURM_CONF,
        "gres.conf": GRES_CONF,
        "slurmdbd.conf": SLURMDBD_CONF,
        "account.sql": ACCOUNT,
    }
    files = {name: text.format(**values).encode() for name, text in texts.items()}
    for name, content in (files | {"munge/key": os.urandom(128)}).items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(content)
    environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf"), **jobs}
    here = Cluster(environment)
    with ExitStack() as daemons:

        def start(log: str, *command: str, ready: Callable[[], object]) -> None:
            daemons.enter_context(_daemon(folder / f"{log}.log", environment, command, ready))

        own = [f"--{kind}={munge}/{kind}" for kind in ("socket", "pid-file", "seed-file", "log-file")]
        own += [f"--key-file={munge}/key"]
        # Forced, for others than root cannot look into the folder, and need not.
        start("munged", "munged", "--foreground", "--force", *own, ready=(munge / "socket").exists)
        plain = ("--no-defaults", "--user=root", f"--datadir={database}")
        here.call("mariadb-install-db", *plain, "--auth-root-authentication-method=normal", "--skip-test-db")
        place = (f"--socket={folder}/sql", f"--pid-file={folder}/sql.pid", f"--port={ports['database']}")
        place += ("--bind-address=127.0.0.1", "--skip-name-resolve", f"--init-file={folder}/account.sql")
        start("mariadbd", "mariadbd", *plain, *place, ready=partial(_answers, ports["database"]))
        start("slurmdbd", "slurmdbd", "-D", ready=partial(_answers, ports["accounting"]))
        start("slurmctld", "slurmctld", "-D", ready=partial(_answers, ports["controller"]))
        for node in NODES:
            start(node, "slurmd", "-D", "-N", node, ready=partial(here.idle, node))
        daemons.callback(here.end_jobs)
        yield here


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _daemon(
    log: Path, environment: Mapping[str, str], command: tuple[str, ...], ready: Callable[[], object]
) -> Iterator[None]:
    """A process that is ready, and is ended; in a session of its own, for Ctrl-C is meant for the tests."""
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )

    def up() -> object:
        if process.poll() is not None:
            raise RuntimeError(f"{log.stem} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        return ready()

    try:
        try:
            wait_for(f"{log.stem} ready", up, 60)
        except TimeoutError as late:
            raise RuntimeError(f"{late}:\n{log.read_text()[-2000:]}") from late
        yield
    finally:
        end(process, 30)
