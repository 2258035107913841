"""Sweeps that run elsewhere: what a launcher needs, that its keys are there, what is said of a job that failed."""

import dataclasses
import importlib.util
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import hydra
import pytest
from submitit.core.utils import FailedJobError, UncompletedJobError

from reflow.cli import launchers
from reflow.cli.launchers import check_launcher, of_slurm
from reflow.config_path import CONFIG_DIR
from reflow.errors import NotInstalledError
from tests.builders import make_dataset, make_teacher_folder, repo_id
from tests.distill.conftest import SMALL, composed

CLUSTER = Path(__file__).parents[1] / "docs" / "cluster.md"


def test_slurm_without_slurm_says_where_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(NotInstalledError, match=r"needs SLURM's srun.*login node"):
        check_launcher(["-m", "+launcher=slurm", "seed=1,2"])
    check_launcher(["-m", "seed=1,2"])
    check_launcher(["+launcher=slurm"])  # one job: it runs here


def test_joblib_without_joblib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        launchers,
        "find_spec",
        lambda name: None if name.endswith("joblib_launcher") else importlib.util.find_spec(name),
    )
    with pytest.raises(NotInstalledError, match=r"pip install 'reflow\[joblib\]'"):
        check_launcher(["-m", "+launcher=joblib", "seed=1,2"])
    check_launcher(["+launcher=joblib"])


def launcher(name: str) -> Any:
    """The settings of a launcher, as a sweep has them."""
    composed()  # a command brings its schema
    with hydra.initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return hydra.compose("train", [f"+launcher={name}"], return_hydra_config=True).hydra.launcher


def test_every_documented_key_of_the_launcher_is_there() -> None:
    rows = re.findall(
        r"^\| (`\w.*?`) \|", CLUSTER.read_text().partition("| `hydra.launcher.`")[2], re.MULTILINE
    )
    keys = [key for row in rows for key in re.findall(r"`([\w.]+)`", row)]
    assert len(keys) > 10
    settings = launcher("slurm")
    for key in keys:
        section, _, last = key.rpartition(".")
        assert last in (settings[section] if section else settings), key


def test_preempted_jobs_are_requeued_and_told_before_their_time_is_up() -> None:
    settings = launcher("slurm")
    assert settings.additional_parameters.requeue is True
    assert settings.max_num_timeout > 0
    assert 60 * settings.timeout_min > settings.signal_delay_s > 0
    assert launcher("joblib").n_jobs == 2


def test_a_schema_survives_the_way_to_another_process() -> None:
    """A field without a default is told by this object; a job of a sweep takes its schema along."""
    assert pickle.loads(pickle.dumps(dataclasses.MISSING)) is dataclasses.MISSING


def test_what_slurm_s_launcher_raises_is_one_line() -> None:
    failed = UncompletedJobError(
        "Job 7_0 (task: 0) with path /data/outputs/slurm/7_0/7_0_0_result.pkl\n"
        "has not produced any output (state: FAILED)\nError stream produced:\n" + "-" * 40 + "\n"
        "error: seed=-1; allowed: 0 or more\nsrun: error: first: task 0: Exited with exit code 2\n"
    )
    assert of_slurm(failed) == (
        "job 7_0 ended as FAILED: seed=-1; allowed: 0 or more; its log is in /data/outputs/slurm/7_0"
    )
    silent = UncompletedJobError(
        "Job 7 (task: 0) with path /d/7/x.pkl\nhas not produced any output (state: OUT_OF_ME+)"
    )
    assert of_slurm(silent) == "job 7 ended as OUT_OF_ME: it said nothing; its log is in /d/7"
    refused = FailedJobError(
        "sbatch: error: invalid partition specified: x\nsbatch: error: Batch job submission failed"
    )
    assert (
        of_slurm(refused)
        == "sbatch: error: invalid partition specified: x sbatch: error: Batch job submission failed"
    )
    assert of_slurm(RuntimeError("Job 7")) is None


@pytest.mark.slow
def test_joblib_runs_jobs_at_once(tmp_path: Path) -> None:
    """Beside each other, each in its folder; a job that cannot run ends the sweep with its line."""
    teacher, root = (
        make_teacher_folder(tmp_path / "pretrained_model", num_steps=4),
        make_dataset(tmp_path / "set"),
    )
    words = [f"teacher.path={teacher}", f"data.repo_id={repo_id(root)}", f"data.root={root}", *SMALL]

    def sweep(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "reflow.train", "-m", "+launcher=joblib", *words, *more]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ))

    done = sweep("+fix=full32,valid14")
    assert done.returncode == 0, done.stderr
    assert len([*(tmp_path / "outputs").glob("*/metrics.json")]) == 2
    refused = sweep("+fix=full32", "seed=-1,-2")
    assert refused.returncode == 2
    assert "error: seed=-" in refused.stderr
    assert "Traceback" not in refused.stderr
