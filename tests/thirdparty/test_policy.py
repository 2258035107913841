"""A policy that this package does not know, in one file of somebody else's, distilled by the command as any other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lerobot.policies.evo1.modeling_evo1 import Evo1Policy

from reflow.data import LeRobotDataModule
from reflow.doctor import padding_regime
from reflow.flow import Draws
from reflow.policies import get_adapter, load_policy, load_processors, policy_types
from reflow.probes import Observations, measure
from reflow.probes.supervision import PaddingSupervision
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
def test_an_entry_point_makes_it_known() -> None:
    assert {"evo1", "smolvla"} <= set(policy_types())
    assert get_adapter("evo1").__name__ == "Evo1Flow"


@pytest.mark.usefixtures("on_path")
@torch.no_grad()
@pytest.mark.parametrize("num_steps", [1, 8])
def test_its_adapter_is_exact(teacher_folder: Path, dataset: Path, num_steps: int) -> None:
    flow = load_policy(teacher_folder)
    flow.num_steps = num_steps
    preprocess, _ = load_processors(teacher_folder, flow)
    data = LeRobotDataModule(flow.config, preprocess, repo_id=repo_id(dataset), root=dataset, num_workers=0)
    batch = next(iter(data.val_dataloader()))
    noise = flow.noise(Draws(0), batch["sample"], torch.zeros(len(batch["sample"]), 1, dtype=torch.long))
    ours = flow.output(flow.walk(flow.encode(batch), noise))[:, 0]
    stock = flow.stock_chunk(batch, noise[:, 0])
    assert torch.equal(
        ours, stock
    )  # 1 and 8 steps: their times are eighths, which turning round does not round
    assert torch.equal(flow.actions(noise), flow.space.real(noise)), "its postprocessor cuts"
    assert noise.abs().max() <= 1
    assert not flow.space.padding(noise).any()


@pytest.mark.usefixtures("on_path")
def test_a_padding_that_the_policy_masks_is_none_to_the_doctor(teacher_folder: Path, dataset: Path) -> None:
    flow = load_policy(teacher_folder)
    preprocess, _ = load_processors(teacher_folder, flow)
    data = LeRobotDataModule(flow.config, preprocess, repo_id=repo_id(dataset), root=dataset, num_workers=0)
    held_out = Observations({"teacher": flow}, Draws(0), 2)
    seen = held_out.see_all(data.val_dataloader())
    assert padding_regime(measure(held_out, seen, [PaddingSupervision()]).metrics) == "no padding"


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
