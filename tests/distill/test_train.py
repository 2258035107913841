"""The main job, end to end, on a small teacher: what is left behind, and that the same command goes on."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file

from reflow.config.run_folder import fingerprint
from reflow.distill.module import Distillation
from tests.builders import make_teacher_folder, repo_id
from tests.distill.conftest import SMALL
from tests.metric_names import undocumented

REQUIRED = {
    "train/loss",
    "deploy/loss",
    "deploy/gap",
    "velocity/relative_error",
    *(f"{who}/endpoint_error@{n}" for who in ("student", "teacher") for n in (1, 2, 4, 10)),
    "teacher/solver_error",
    "padding/teacher/endpoint_abs_mean",
    "padding/teacher/endpoint_abs_max",
    "padding/teacher/sensitivity",
    "throughput/pairs_per_second",
    "throughput/data_wait",
}
Run = Callable[..., dict[str, float]]


def test_a_run_leaves_metrics_figures_and_a_student(run: Run, teacher_folder: Path, tmp_path: Path) -> None:
    before = fingerprint(teacher_folder)
    metrics = run("+fix=full32")
    folder = tmp_path / "run"
    assert set(metrics) >= REQUIRED
    assert undocumented(metrics) == []
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics["teacher/endpoint_error@4"] == 0.0  # the teacher's own number of steps
    assert metrics["teacher/endpoint_error@1"] > 0.01
    assert metrics["deploy/gap"] == pytest.approx(
        metrics["deploy/loss"] / metrics["train/loss_real"], rel=1e-5
    )
    assert {path.name for path in (folder / "figures").iterdir()} >= {
        "endpoint_error.png",
        "velocity_error.png",
        "padding.png",
    }
    assert fingerprint(teacher_folder) == before

    student = SmolVLAPolicy.from_pretrained(folder / "pretrained_model")
    assert student.config.num_steps == 1
    teacher = load_file(teacher_folder / "model.safetensors")
    trained = load_file(folder / "pretrained_model" / "model.safetensors")
    assert teacher.keys() == trained.keys()
    changed = {name for name in teacher if not torch.equal(teacher[name], trained[name])}
    assert changed
    assert not any(".vlm." in name or "state_proj" in name for name in changed)


def test_the_same_command_again_is_finished(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run("+fix=full32")
    monkeypatch.setattr(Distillation, "training_step", lambda *_: pytest.fail("trained again"))
    assert run("+fix=full32") == first


class Crash(RuntimeError):
    """Something from outside that ends a run."""


@pytest.mark.parametrize("muon", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_interrupted_run_ends_where_the_uninterrupted_one_does(
    muon: bool, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more: list[str] = []
    if muon:  # for matrices wider than an action
        teacher = make_teacher_folder(tmp_path / "wide", num_steps=4, expert_width_multiplier=1.5)
        more = [f"teacher.path={teacher}", "optimizer.muon_lr=3e-3"]
    run("+fix=full32", *more)
    whole = load_file(tmp_path / "run" / "pretrained_model" / "model.safetensors")
    (tmp_path / "run").rename(tmp_path / "whole")

    step = Distillation.training_step
    calls: list[int] = []

    def crash_at_step_5(self: Distillation, batch: dict, batch_idx: int) -> object:
        calls.append(self.global_step)
        if len(calls) == 5:
            raise Crash
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Distillation, "training_step", crash_at_step_5)
    with pytest.raises(Crash):
        run("+fix=full32", *more)
    run("+fix=full32", *more)
    assert calls == [0, 1, 2, 3, 4, 3, 4, 5]  # from the checkpoint of step 3 on
    resumed = load_file(tmp_path / "run" / "pretrained_model" / "model.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_checkpoints_hold_what_is_trained_and_nothing_of_the_teacher(run: Run, tmp_path: Path) -> None:
    run("+fix=full32")
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=False)
    assert checkpoint["averaging_state"]
    for state in (checkpoint["state_dict"], checkpoint["current_model_state"]):
        assert state
        assert all(name.startswith("student.") for name in state)
        assert not any(".vlm." in name or "state_proj" in name for name in state)
    optimized = sum(len(group["params"]) for group in checkpoint["optimizer_states"][0]["param_groups"])
    assert optimized == len(checkpoint["current_model_state"])


def test_another_configuration_is_refused_and_named(run: Run) -> None:
    run("+fix=full32")
    with pytest.raises(
        ValueError, match=r"(?s)holds another configuration's run.*padding.loss: full there, real now"
    ):
        run("+fix=keep_target")


def test_how_data_are_read_and_where_the_folder_lies_make_no_other_run(run: Run, tmp_path: Path) -> None:
    first = run("+fix=full32")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert (
        run("+fix=full32", f"run_dir={tmp_path / 'moved'}", "data.num_workers=1", "data.preload=false")
        == first
    )


def test_another_teacher_under_the_same_path_is_refused(run: Run, tmp_path: Path) -> None:
    run()
    record = tmp_path / "run" / "run.json"
    record.write_text(
        record.read_text().replace(json.loads(record.read_text())["teacher_fingerprint"], "0" * 64)
    )
    with pytest.raises(ValueError, match="teacher_fingerprint: 0000"):
        run()


def test_a_folder_with_other_things_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds no run of reflow"):
        run()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_half_precision_comes_from_the_trainer(run: Run, tmp_path: Path) -> None:
    metrics = run("+fix=full32", "trainer.precision=bf16-mixed")
    assert metrics["train/loss"] > 0
    weights = load_file(tmp_path / "run" / "pretrained_model" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}


@pytest.mark.slow
def test_killed_in_the_middle_the_command_goes_on(
    teacher_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable, "-m", "reflow.train", "+fix=full32", f"teacher.path={teacher_folder}",
        f"data.repo_id={repo_id(dataset)}", f"data.root={dataset}", f"run_dir={tmp_path / 'run'}",
        *SMALL, "trainer.max_steps=60", "trainer.val_check_interval=60",
    ]  # fmt: skip
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 300
    while not checkpoint.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run" / "metrics.json").exists()
    subprocess.run(command, check=True)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()).keys() >= REQUIRED
