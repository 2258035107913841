"""An adapter in one file of somebody else's, found by its entry point and distilled by the command as any other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lerobot.policies.evo1.modeling_evo1 import Evo1Policy

from reflow.policies import get_adapter, load_policy, parameter_groups, policy_types
from tests.builders import repo_id
from tests.distill.conftest import SMALL


@pytest.fixture
def on_path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed))


def command(name: str, installed: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    path = f"{installed}{os.pathsep}{Path(__file__).parents[2]}"
    return subprocess.run(
        [sys.executable, "-m", f"reflow.{name}", *overrides],
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )


@pytest.mark.usefixtures("on_path")
def test_an_entry_point_makes_it_known_and_comes_before_ours(teacher_folder: Path) -> None:
    assert policy_types().count("evo1") == 1
    assert get_adapter("evo1").__name__ == "MyEvo1Flow"
    assert "robot" in parameter_groups(load_policy(teacher_folder))


@pytest.mark.slow
def test_the_command_distills_it(
    teacher_folder: Path, dataset: Path, installed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    mine = (f"teacher.path={teacher_folder}", f"data.repo_id={repo_id(dataset)}", f"data.root={dataset}")
    small = [entry for entry in SMALL if not entry.startswith("trainer.max_steps")]
    done = command("train", installed, "+fix=full32", *mine, *small, "trainer.max_steps=30", f"run_dir={run}")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((run / "metrics.json").read_text())
    # a student of one step: nearer to its teacher's endpoints than the teacher itself in one step
    assert metrics["student/endpoint_error@1"] < metrics["teacher/endpoint_error@1"]
    student = Evo1Policy.from_pretrained(run / "pretrained_model")  # LeRobot alone
    assert student.config.num_inference_timesteps == 1
    assert student.model.action_head.num_inference_timesteps == 1


@pytest.mark.slow
def test_every_other_command_takes_it_too(
    teacher_folder: Path, dataset: Path, installed: Path, tmp_path: Path
) -> None:
    pairs, student = tmp_path / "pairs", tmp_path / "run" / "pretrained_model"
    mine = (f"teacher.path={teacher_folder}", f"data.repo_id={repo_id(dataset)}", f"data.root={dataset}")
    few = ("data.val_frames=8", "reference_steps=16")
    ready = ("draws=4", f"run_dir={pairs}")
    run = (*SMALL, f"pairs.path={pairs}", "objective.draw_pool=4", f"run_dir={tmp_path / 'run'}")
    compare = (
        f"student.path={student}",
        "latency_chunks=1",
        "distribution_frames=4",
        f"run_dir={tmp_path / 'out'}",
    )
    for name, codes, overrides in (
        ("diagnose", (0, 1), ("+fix=full32", *few)),
        ("pairs", (0,), ("+fix=full32", *ready)),
        ("train", (0,), ("+fix=full32", *run)),
        ("evaluate", (0,), (*few, *compare)),
    ):
        done = command(name, installed, *mine, *overrides)
        assert done.returncode in codes, (name, done.stderr)
        assert "Traceback" not in done.stderr, (name, done.stderr)
