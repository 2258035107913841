"""A checkpoint that is cut short or damaged is named, and the one before it is taken."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reflow.distill.checkpoints import (
    AtomicCheckpointIO,
    DamagedCheckpointError,
    ForeignCheckpointError,
    whole_checkpoint,
)
from reflow.distill.module import Distillation
from tests.builders import repo_id
from tests.distill.conftest import SMALL
from tests.test_ending import heed_ctrl_c

Run = Callable[..., dict[str, float]]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two checkpoints, as two steps leave them."""
    for step in (3, 6):
        content = {"pytorch-lightning_version": "2", "global_step": step, "weights": torch.arange(10_000.0)}
        AtomicCheckpointIO().save_checkpoint(content, tmp_path / "checkpoints" / "last.ckpt")
    return tmp_path / "checkpoints"


@pytest.mark.parametrize(
    ("damage", "words"), [(cut, "is cut short"), (empty, "is empty"), (flip, "is damaged in ")]
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    folder: Path, damage: Callable[[Path], None], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert whole_checkpoint(folder) == folder / "last.ckpt"
    assert not capsys.readouterr().err
    damage(folder / "last.ckpt")
    assert whole_checkpoint(folder) == folder / "previous.ckpt"
    said = capsys.readouterr().err
    assert f"warning: {folder / 'last.ckpt'} {words}" in said
    assert "going on from previous.ckpt, of step 3" in said
    damage(folder / "previous.ckpt")
    with pytest.raises(DamagedCheckpointError, match=rf"last\.ckpt {words}.*previous\.ckpt {words}.*delete "):
        whole_checkpoint(folder)


def test_killed_between_two_renames_the_one_before_counts(folder: Path) -> None:
    (folder / "last.ckpt").unlink()
    assert whole_checkpoint(folder) == folder / "previous.ckpt"
    (folder / "previous.ckpt").unlink()
    assert whole_checkpoint(folder) is None


def test_a_run_goes_on_from_the_checkpoint_before_a_cut_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("+fix=full32")
    weights = load_file(tmp_path / "run" / "pretrained_model" / "model.safetensors")
    (tmp_path / "run" / "metrics.json").unlink()
    shutil.rmtree(tmp_path / "run" / "pretrained_model")
    cut(tmp_path / "run" / "checkpoints" / "last.ckpt")
    step, steps = Distillation.training_step, list[int]()

    def counted(self: Distillation, batch: dict, batch_idx: int) -> object:
        steps.append(self.global_step)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Distillation, "training_step", counted)
    run("+fix=full32")
    assert steps == [3, 4, 5]
    again = load_file(tmp_path / "run" / "pretrained_model" / "model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_another_file_of_torch_is_no_checkpoint(run: Run, tmp_path: Path) -> None:
    run("+fix=full32")
    (tmp_path / "run" / "metrics.json").unlink()
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    torch.save({"weights": torch.zeros(3)}, last)
    with pytest.raises(
        DamagedCheckpointError, match=rf"{last} is a file of torch, but no checkpoint.*delete "
    ):
        run("+fix=full32")


@pytest.mark.slow
def test_a_run_goes_on_from_no_other_run_s_checkpoint(run: Run, tmp_path: Path) -> None:
    run("+fix=full32")
    (tmp_path / "run").rename(tmp_path / "other")
    run("+fix=full32")
    (tmp_path / "run" / "metrics.json").unlink()
    last = Path("checkpoints", "last.ckpt")
    shutil.copy(tmp_path / "other" / last, tmp_path / "run" / last)
    with pytest.raises(
        ForeignCheckpointError, match=rf"{last} was written by another run than the one in this"
    ):
        run("+fix=full32")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code", "word", "devices"),
    [
        (signal.SIGTERM, 143, "terminated", 1),
        (signal.SIGINT, 130, "interrupted", 1),
        (signal.SIGTERM, 143, "terminated", 2),
    ],
)
def test_a_run_that_is_told_to_stop_says_so_and_goes_on(
    run: Run,
    teacher_folder: Path,
    dataset: Path,
    tmp_path: Path,
    sent: int,
    code: int,
    word: str,
    devices: int,
) -> None:
    long = (
        "trainer.max_steps=60",
        "trainer.val_check_interval=60",
        "callbacks.checkpoint.every_n_train_steps=7",
        f"trainer.devices={devices}",
    )
    command = [
        sys.executable, "-m", "reflow.train", "+fix=full32", f"teacher.path={teacher_folder}",
        f"data.repo_id={repo_id(dataset)}", f"data.root={dataset}", f"run_dir={tmp_path / 'run'}", *SMALL, *long,
    ]  # fmt: skip
    subprocess.run(command, check=True)  # a process of its own: with two, it is started once more
    weights = load_file(tmp_path / "run" / "pretrained_model" / "model.safetensors")
    (tmp_path / "run").rename(tmp_path / "whole")
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    )
    deadline = time.monotonic() + 300
    while not checkpoint.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(sent)
    out, said = process.communicate()
    assert process.returncode == code, said
    assert said.count(f"{word}; the same command goes on from {checkpoint}") == 1
    assert "bug" not in said
    assert "finished" not in out
    assert not (tmp_path / "run" / "metrics.json").exists()
    subprocess.run(command, check=True)
    again = load_file(tmp_path / "run" / "pretrained_model" / "model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["train/loss"] > 0
