"""What is written is whole, measured, and proven to be what was trained."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest
import torch

from reflow.data import SAMPLE
from reflow.distill import deliver
from reflow.distill.callbacks import Throughput, progress
from reflow.distill.checkpoints import AtomicCheckpointIO
from reflow.files import UnwritableError
from reflow.policies import load_policy


def test_a_failed_checkpoint_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, writer = tmp_path / "checkpoints" / "last.ckpt", AtomicCheckpointIO()
    writer.save_checkpoint({"step": 1}, path)

    def fill_the_disk(_: object, staged: IO[bytes]) -> None:
        staged.write(b"half")
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", fill_the_disk)
        with pytest.raises(UnwritableError, match=r"last\.ckpt cannot be written to .* \(no space left\)"):
            writer.save_checkpoint({"step": 2}, path)
    assert torch.load(path)["step"] == 1
    writer.save_checkpoint({"step": 3}, path)
    assert torch.load(path)["step"] == 3
    assert torch.load(path.with_name("previous.ckpt"))["step"] == 1
    assert {file.name for file in path.parent.iterdir()} == {"last.ckpt", "previous.ckpt"}


def test_throughput_leaves_out_warm_up_and_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    throughput, logged = Throughput(skip=2), {}
    trainer = SimpleNamespace(world_size=2, training=False)
    module = SimpleNamespace(
        objective=SimpleNamespace(draws=4),
        log=lambda name, value, **_: logged.update({name: value}),
        log_dict=logged.update,
    )

    def step(start: float, end: float) -> None:
        batch = {SAMPLE: torch.zeros(3)}
        monkeypatch.setattr(progress.time, "perf_counter", lambda: start)
        throughput.on_train_batch_start(trainer, module, batch, 0)
        monkeypatch.setattr(progress.time, "perf_counter", lambda: end)
        throughput.on_train_batch_end(trainer, module, None, batch, 0)

    # The first two warm up; the third waits half a second and takes 2 s with that.
    for at in ((0.0, 1.0), (50.0, 100.0), (100.5, 102.0)):
        step(*at)
    throughput.on_validation_start(trainer, module)
    for at in ((499.0, 500.0), (500.25, 501.0)):  # the first has validation before it; the second takes 1 s
        step(*at)
    logged.clear()
    throughput.on_validation_epoch_end(trainer, module)
    assert logged["throughput/pairs_per_second"] == pytest.approx(2 * (3 * 4 * 2) / 3.0)
    assert logged["throughput/data_wait"] == pytest.approx(0.75 / 3.0)

    resumed = Throughput()
    resumed.load_state_dict(throughput.state_dict())
    assert (resumed.pairs, resumed.seconds, resumed.waited) == (48, 3.0, 0.75)


def test_a_student_that_comes_back_different_is_not_delivered(
    run: Callable[..., dict[str, float]],
    teacher_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reflow.train.rehearse_delivery", lambda *_: None)  # which would have found it
    monkeypatch.setattr(deliver, "load_policy", lambda _: load_policy(teacher_folder))
    with pytest.raises(
        RuntimeError, match="LeRobot asks the student for 4 velocities, but it was made for 1"
    ):
        run("+fix=full32")
    assert not (tmp_path / "run" / "metrics.json").exists()  # such a run is not finished
