"""A signal waits for the end of the step, costs none, and goes to whoever had it."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from safetensors.torch import load_file

from reflow.distill.module import Distillation
from reflow.ending import STOPPING, ending
from reflow.stopping import PostponedSignals, going_on

Run = Callable[..., dict[str, float]]
RARELY = "callbacks.checkpoint.every_n_train_steps=100"  # not by chance at the step of the signal


def told(patch: pytest.MonkeyPatch, step: str, number: int, when: Callable[[Distillation], bool]) -> None:
    """This process gets the signal once, in the midst of a step."""
    real, sent = getattr(Distillation, step), list[int]()

    def telling(self: Distillation, batch: dict[str, Any], batch_idx: int) -> object:
        if when(self) and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return real(self, batch, batch_idx)

    patch.setattr(Distillation, step, telling)


def stopped(run: Run, *overrides: str) -> int:
    """The exit code of a command that runs this."""
    with pytest.raises(SystemExit) as end, ending(str):
        run("+fix=full32", RARELY, *overrides)
    return int(end.value.code or 0)


ACCUMULATE = ("+trainer.accumulate_grad_batches=2",)


@pytest.mark.parametrize(
    ("number", "step", "at", "kept", "overrides"),
    [
        (signal.SIGTERM, "training_step", 2, 3, ()),
        pytest.param(signal.SIGUSR1, "training_step", 2, 3, ACCUMULATE, marks=pytest.mark.slow),
        (signal.SIGUSR2, "validation_step", 3, 3, ()),  # the validation ends before it
        pytest.param(signal.SIGUSR2, "validation_step", 6, 6, (), marks=pytest.mark.slow),  # there is none
        pytest.param(signal.SIGINT, "training_step", 2, 3, (), marks=pytest.mark.slow),
    ],
)
def test_a_signal_costs_no_step(
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    number: int,
    step: str,
    at: int,
    kept: int,
    overrides: Any,
) -> None:
    whole = run("+fix=full32", RARELY, *overrides)
    here, weights = tmp_path / "run", load_file(tmp_path / "run" / "pretrained_model" / "model.safetensors")
    here.rename(tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        told(patch, step, number, lambda module: module.global_step == at)
        assert stopped(run, *overrides) == 128 + number
    last = here / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=False)["global_step"] == kept
    assert f"; the same command goes on from {last}" in capsys.readouterr().err
    assert not (here / "pretrained_model").exists()
    again = run("+fix=full32", RARELY, *overrides)
    ours = load_file(here / "pretrained_model" / "model.safetensors")
    assert all(torch.equal(ours[name], weights[name]) for name in weights)
    assert {name: again[name] for name in whole if not name.startswith("throughput/")} == {
        name: whole[name] for name in whole if not name.startswith("throughput/")
    }


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Handlers are the process's, not the test's."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *STOPPING)}
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # what a shell starts in the background ignores it
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def postponed() -> PostponedSignals:
    """They wait from here on."""
    signals = PostponedSignals()
    signals.remember()
    signals.postpone(L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False))
    return signals


def send(number: int, signals: PostponedSignals) -> None:
    """Another thread may have taken it, so that this one hears of it a moment later."""
    os.kill(os.getpid(), number)
    deadline = time.monotonic() + 60
    while not signals.came:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_second_ctrl_c_does_not_wait() -> None:
    send(signal.SIGINT, postponed())

    def again() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        again()


def test_one_that_comes_while_ranks_ask_each_other_waits_for_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer, signals = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False), postponed()

    def slowly(came: torch.Tensor, **_: str) -> torch.Tensor:
        if not signals.came:
            send(signal.SIGUSR2, signals)
        return came

    monkeypatch.setattr(L.Trainer, "world_size", 2)
    monkeypatch.setattr(trainer.strategy, "reduce", slowly)
    assert not signals.agreed(trainer)
    assert signals.agreed(trainer)


def test_what_is_ignored_stays_ignored() -> None:
    """A shell's job in the background, which Ctrl-C is not meant for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    postponed()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_whoever_had_a_signal_gets_it() -> None:
    """A scheduler's library (submitit) has SIGUSR2, and asks to be requeued."""
    got = list[int]()
    signal.signal(signal.SIGUSR2, lambda number, _: got.append(number))
    signals = postponed()
    send(signal.SIGUSR2, signals)
    assert not got
    signals.hand_over()
    signals.hand_over()
    assert got == [signal.SIGUSR2]


def test_what_lightning_takes_in_the_meantime_is_lightnings() -> None:
    """Without a command around it: SIGTERM always, under SLURM SIGUSR1, too."""
    got, signals = list[int](), PostponedSignals()
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    signals.remember()
    signal.signal(signal.SIGUSR1, lambda number, _: got.append(number))
    signals.postpone(L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False))
    send(signal.SIGUSR1, signals)
    signals.hand_over()
    assert got == [signal.SIGUSR1]


def test_what_breaks_because_others_have_stopped_is_no_fault() -> None:
    signals = postponed()
    send(signal.SIGINT, signals)
    with pytest.raises(KeyboardInterrupt) as end, going_on(lambda: "here", signals):
        raise RuntimeError("Connection closed by peer")
    assert end.value.__notes__ == ["here"]
    with pytest.raises(RuntimeError), going_on(lambda: "here", signals):
        raise RuntimeError("nobody was told to stop")
