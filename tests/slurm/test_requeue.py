"""A job that has to stop goes on, to the bits of a run that never stopped: one of the script, one of the launcher."""

import json
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, wait_for
from tests.slurm.conftest import LONG, SLOWLY, Job, Submit

RUN = (*LONG, *SLOWLY, "+fix=full32")


def same(run: Path, whole: Path) -> None:
    """The student's bytes and all figures, but for how fast the run was."""
    student, other = (folder / "pretrained_model" / "model.safetensors" for folder in (run, whole))
    assert student.read_bytes() == other.read_bytes()
    ours, others = (json.loads((folder / "metrics.json").read_text()) for folder in (run, whole))
    fast = {name for name in others if name.startswith("throughput/")}
    assert {name: value for name, value in ours.items() if name not in fast} == {
        name: value for name, value in others.items() if name not in fast
    }


@pytest.fixture
def jobs(by_script: Submit, by_launcher: Submit) -> list[Job]:
    """The same run both ways, under way."""
    both = [by_launcher(("hydra.launcher.timeout_min=30",), *RUN), by_script(("--time=30",), *RUN)]
    for job in both:
        job.under_way()
    return both


def test_what_reaches_its_time_limit_goes_on(
    by_script: Submit, by_launcher: Submit, whole: Path, slurm: Cluster
) -> None:
    # SLURM tells a job up to a minute too early: of two minutes one is left to load in, for what is told before it
    # listens is killed. 300 steps of 0.5 s are more than the two.
    limit = ("hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=5")
    slower = (*RUN, "callbacks.slowly.seconds=0.5")
    both = [by_launcher(limit, *slower), by_script(("--time=2", "--signal=USR2@5"), *slower)]
    for job in both:
        job.ended()
        *before, last = slurm.lives(job.number)
        assert set(before) == {"REQUEUED"}
        assert last == "COMPLETED"
        assert job.begins(0) == 0 < job.begins(1)
        same(job.folder, whole)


def test_what_is_preempted_goes_on(jobs: list[Job], whole: Path, slurm: Cluster, tmp_path: Path) -> None:
    urgent = ("--partition=urgent", "--nodes=2", "--ntasks=2", f"--output={tmp_path}/urgent.log")
    slurm.wait(slurm.call("sbatch", "--parsable", *urgent, "--wrap=true"))
    # submitit's job works on until its time of grace is over, the script asks to be requeued at once.
    for job, first in zip(jobs, ("PREEMPTED", "REQUEUED"), strict=True):
        job.ended()
        assert slurm.lives(job.number) == [first, "COMPLETED"]
        assert job.begins(1) >= 20
        same(job.folder, whole)


def test_what_was_on_a_node_that_failed_goes_on(jobs: list[Job], whole: Path, slurm: Cluster) -> None:
    job = jobs[1]
    slurm.call("scancel", jobs[0].number)
    node = slurm.call("squeue", "--noheader", "--format=%N", f"--jobs={job.number}")
    slurm.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    job.ended()
    assert slurm.lives(job.number) == ["NODE_FAIL", "COMPLETED"]
    assert job.begins(1) >= 20
    same(job.folder, whole)
    wait_for(f"{node} idle again", lambda: slurm.idle(node), 60)


def test_what_is_cancelled_does_not(by_script: Submit, slurm: Cluster) -> None:
    job = by_script((), *RUN)
    job.under_way()
    slurm.call("scancel", job.number)
    wait_for("the job gone", lambda: not slurm.call("squeue", "--noheader"), 180)
    assert slurm.lives(job.number) == ["CANCELLED"]
    assert not (job.folder / "pretrained_model").exists()
