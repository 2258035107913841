"""One cluster for all tests, a small teacher, and the ways in which a run becomes a job on it."""

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from reflow.train import train
from tests.builders import make_dataset, make_teacher_folder, repo_id
from tests.distill.conftest import SMALL, composed
from tests.slurm.cluster import Cluster, NotInstallableError, cluster, install, wait_for

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
# Long enough to be stopped at, however fast the machine: 300 steps of 0.2 s at least.
LONG = ("trainer.max_steps=300", "trainer.val_check_interval=150", "trainer.log_every_n_steps=1")
SLOWLY = (
    "+callbacks.slowly._target_=tests.slurm.slowly.Slowly",
    "+callbacks.slowly.seconds=0.2",
    "callbacks.checkpoint.every_n_train_steps=20",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slurm)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    try:
        install()
    except NotInstallableError as error:
        pytest.skip(str(error))
    # Both nodes are here.
    jobs = {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "MASTER_ADDR": "127.0.0.1",
        "REFLOW_TRUST": "tests",
    }
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as by Ctrl-C, the daemons are ended
    with (
        pytest.MonkeyPatch.context() as here,
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        cluster(Path(folder, "cluster"), jobs) as one,
    ):
        here.setenv("REFLOW_TRUST", jobs["REFLOW_TRUST"])  # the callback that makes a run slow
        yield one
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a run on the small teacher is told."""
    folder = tmp_path_factory.mktemp("inputs")
    teacher = make_teacher_folder(folder / "teacher" / "pretrained_model", num_steps=4)
    root = make_dataset(folder / "set")
    data = [f"data.repo_id={repo_id(root)}", f"data.root={root}", "trainer.accelerator=cpu"]
    return [f"teacher.path={teacher}", *data, *SMALL]


@pytest.fixture(scope="session")
def whole(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The long run, uninterrupted and without SLURM."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(composed(*words, *LONG, "+fix=full32"), folder)
    return folder


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one that the documentation shows."""
    (text,) = re.findall(r"```bash\n(#!.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)
    path = tmp_path_factory.mktemp("script") / "reflow.sh"
    path.write_text(text)
    return path


@dataclass(frozen=True)
class Job:
    """A run that SLURM has.

    Attributes:
        number: the job's.
        folder: the run's.
        ended: waits until whoever gave the command is told that the run is done.
    """

    number: str
    folder: Path
    ended: Callable[[], object]

    def begins(self, life: int) -> int:
        """The first step of one of its lives, as TensorBoard was told."""
        file = sorted((self.folder / "tensorboard").glob("events.*.0"))[life]
        return next(one.step for one in EventFileLoader(str(file)).Load() if one.HasField("session_log"))

    def under_way(self) -> None:
        """Waits until it has a checkpoint."""
        last = self.folder / "checkpoints" / "last.ckpt"
        wait_for(f"a checkpoint in {self.folder}", last.is_file, 180)


Submit = Callable[..., Job]


@pytest.fixture
def by_script(slurm: Cluster, script: Path, words: list[str], tmp_path: Path) -> Submit:
    """``by_script(options, *overrides)``: the run as a job of the documented script."""

    def submit(options: tuple[str, ...], *overrides: str) -> Job:
        folder = tmp_path / "by_script"
        command = (PYTHON, "-m", "reflow.train", *words, *overrides, f"run_dir={folder}")
        number = slurm.submit(script, *options, f"--output={tmp_path}/%j.log", then=command)
        return Job(number, folder, lambda: slurm.wait(number))

    return submit


@pytest.fixture
def by_launcher(slurm: Cluster, words: list[str], tmp_path: Path) -> Iterator[Submit]:
    """``by_launcher(options, *overrides)``: the run as a sweep of one, by Hydra's launcher."""
    sweeps: list[subprocess.Popen[str]] = []

    def submit(options: tuple[str, ...], *overrides: str) -> Job:
        folder = tmp_path / "by_launcher"
        sweep = slurm.sweep(tmp_path, *words, *overrides, *options, f"run_dir={folder}")
        sweeps.append(sweep)
        logs = tmp_path / "outputs" / "slurm"
        wait_for("the job of the sweep", lambda: [*logs.glob("*/*_submission.sh")] or sweep.poll(), 120)
        assert sweep.poll() is None, sweep.communicate()
        (number,) = {path.parent.name for path in logs.glob("*/*_submission.sh")}

        def ended() -> None:
            out, said = sweep.communicate(timeout=600)
            assert sweep.returncode == 0, out + said

        return Job(number, folder, ended)

    yield submit
    for sweep in sweeps:
        sweep.kill()
        sweep.communicate()
