"""Sweeps as job arrays, nodes as ranks, a pair cache as an array: the same bits as without SLURM."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from reflow.pairs import generate
from reflow.train import train
from tests.distill.conftest import composed
from tests.endpoints.conftest import content
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import Submit
from tests.slurm.test_requeue import same

FIXES = ("keep_target", "full32", "valid14")


ASKED = {
    "account": "lab",
    "partition": "main",
    "timeout_min": "30",
    "gpus_per_node": "1",
    "signal_delay_s": "60",
    "array_parallelism": "1",
}
SBATCH = [
    "account=lab",
    "partition=main",
    "time=30",
    "gpus-per-node=1",
    "signal=USR2@60",
    "array=0-2%1",
    "requeue",
]


def test_a_sweep_is_a_job_array(slurm: Cluster, words: list[str], tmp_path: Path) -> None:
    settings = [f"hydra.launcher.{key}={value}" for key, value in ASKED.items()]
    sweep = slurm.sweep(tmp_path, *words, f"+fix={','.join(FIXES)}", *settings)
    out, said = sweep.communicate(timeout=600)
    assert sweep.returncode == 0, out + said
    for fix in FIXES:
        (run,) = (tmp_path / "outputs").glob("demo-callbacks*" if fix == "full32" else f"demo-{fix}*")
        train(composed(*words, f"+fix={fix}"), tmp_path / fix)
        same(run, tmp_path / fix)
    (submission,) = (tmp_path / "outputs" / "slurm").glob("*/*_submission.sh")
    assert {f"#SBATCH --{option}" for option in SBATCH} <= set(submission.read_text().splitlines())
    fields = ("--noheader", "--parsable2", "--allocations", "--format=Start,End")
    array = slurm.call("sacct", *fields, f"--jobs={submission.parent.name}")
    times = sorted(line.split("|") for line in array.splitlines())
    assert len(times) == len(FIXES)
    # One at a time, though both nodes were free.
    assert all(end <= start for (_, end), (start, _) in pairwise(times))


def test_a_job_that_fails_says_why(slurm: Cluster, words: list[str], tmp_path: Path) -> None:
    """Bad input is the user's to mend there, too."""
    sweeps = [
        slurm.sweep(tmp_path, *words, *bad) for bad in (["seed=-1,-2"], ["hydra.launcher.partition=nonesuch"])
    ]
    for sweep, why in zip(
        sweeps, ("seed=-1; allowed: 0 or more", "invalid partition specified"), strict=True
    ):
        _, said = sweep.communicate(timeout=300)
        assert sweep.returncode == 2, said
        assert said.splitlines()[-1].startswith("error: ")
        assert why in said.splitlines()[-1]
        assert "Traceback" not in said


@pytest.fixture(scope="module")
def two_ranks(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on two devices of this machine, which Lightning starts."""
    folder = tmp_path_factory.mktemp("ranks") / "run"
    command = [
        sys.executable,
        "-m",
        "reflow.train",
        *words,
        "+fix=full32",
        "trainer.devices=2",
        f"run_dir={folder}",
    ]
    subprocess.run(command, check=True, timeout=300)
    return folder


@pytest.mark.parametrize("way", ["by_script", "by_launcher"])
def test_two_nodes_are_two_ranks(way: str, two_ranks: Path, request: pytest.FixtureRequest) -> None:
    submit: Submit = request.getfixturevalue(way)
    options = {
        "by_script": ("--nodes=2",),
        "by_launcher": ("hydra.launcher.nodes=2", "hydra.launcher.timeout_min=30"),
    }
    job = submit(options[way], "+fix=full32", "+trainer.num_nodes=2")
    job.ended()
    same(job.folder, two_ranks)


def test_a_pair_cache_is_made_by_an_array(
    slurm: Cluster, script: Path, words: list[str], tmp_path: Path
) -> None:
    inputs = [
        word for word in words if word.startswith(("teacher.", "data.repo_id", "data.root", "trainer.acc"))
    ]
    pairs = [*inputs, "+fix=full32", "draws=2", "store=vision", "samples_per_shard=4", "data.batch_size=4"]
    one, parts = tmp_path / "one" / "cache", tmp_path / "parts" / "cache"
    generate(composed(*pairs, f"run_dir={one}", config_name="pairs"), pairs)
    share = "part=${oc.env:SLURM_ARRAY_TASK_ID}/3"
    command = (sys.executable, "-m", "reflow.pairs", *pairs, f"run_dir={parts}", share)
    array = slurm.submit(script, "--array=1-3", f"--output={tmp_path}/%a.log", then=command)
    slurm.wait(array)
    there = content(one)
    made = content(parts)
    # The command that the manifest repeats names the folder.
    manifest = made.pop("manifest.json").replace(f" run_dir={parts}".encode(), b"")
    assert manifest == there.pop("manifest.json")
    assert made == there
