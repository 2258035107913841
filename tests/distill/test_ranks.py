"""Several processes learn what one would, sharded (FSDP2) or not (DDP)."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reflow.distill.checkpoints import WRITER
from reflow.errors import UserError
from tests.builders import repo_id
from tests.distill.conftest import SMALL

pytestmark = pytest.mark.slow
NO_EMA = ("callbacks.ema=null",)
WAYS = {
    "ddp": ("trainer.devices=2", "data.batch_size=4"),
    "sharded": ("trainer=sharded", "trainer.devices=2", "data.batch_size=4", *NO_EMA),
}
FAR = 1e-3
"""Of the way that the weights went: what two orders of one sum may make of it.

A gradient differs by some 2**-24 of the sums that it is made of, and so does AdamW's step, but for weights whose
gradient is nothing but rounding: those go by up to the rate in either direction. Measured: 2e-6 after 20 steps.
"""


@pytest.fixture
def command(teacher_folder: Path, dataset: Path, tmp_path: Path) -> Callable[..., Path]:
    """``command(name, *overrides)``: a run of its own process, which may start more; its folder.

    ``refused``: what it has to say instead.
    """

    def run(name: str, *overrides: str, refused: str | None = None) -> Path:
        words = [
            sys.executable, "-m", "reflow.train", "+fix=full32", f"teacher.path={teacher_folder}",
            f"data.repo_id={repo_id(dataset)}", f"data.root={dataset}", f"run_dir={tmp_path / name}", *SMALL,
            "trainer.accelerator=cpu", "data.num_workers=0", *overrides,
        ]  # fmt: skip
        ended = subprocess.run(words, capture_output=True, text=True)
        if refused is not None:
            assert ended.returncode == 2, ended.stderr
            assert refused in ended.stderr
            return tmp_path / name
        assert ended.returncode == 0, ended.stderr
        assert "sync_dist" not in ended.stderr
        assert ended.stdout.count("(lerobot-eval --policy.path=...)") == 1  # one of them delivers
        return tmp_path / name

    return run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Of a policy folder."""
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_learn_what_one_does(
    command: Callable[..., Path], teacher_folder: Path, way: str
) -> None:
    one = command("one", "data.batch_size=8", *(NO_EMA if way == "sharded" else ()))
    two = command("two", *WAYS[way])
    ours, theirs = (weights(run / "pretrained_model") for run in (two, one))
    start = weights(teacher_folder)
    far = sum(((ours[name] - theirs[name]).double() ** 2).sum() for name in ours) ** 0.5
    went = sum(((theirs[name] - start[name]).double() ** 2).sum() for name in ours) ** 0.5
    assert far < FAR * went
    figures = [json.loads((run / "metrics.json").read_text()) for run in (one, two)]
    assert figures[0].keys() == figures[1].keys()
    for name, value in figures[0].items():
        if not name.startswith("throughput/"):
            assert figures[1][name] == pytest.approx(value, rel=1e-2, abs=1e-3), name


def test_a_sharded_run_goes_on(command: Callable[..., Path], tmp_path: Path) -> None:
    run = command("run", *WAYS["sharded"])
    whole = weights(run / "pretrained_model")
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "pretrained_model")
    (run / "checkpoints" / "previous.ckpt").replace(run / "checkpoints" / "last.ckpt")  # of half the way
    other = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) | {WRITER: "another"}
    again = weights(command("run", *WAYS["sharded"]) / "pretrained_model")
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    (run / "metrics.json").unlink()
    torch.save(other, run / "checkpoints" / "last.ckpt")
    command("run", *WAYS["sharded"], refused="was written by another run than the one in this folder")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((), "give callbacks.ema=null"),
        ((*NO_EMA, "optimizer.muon_lr=1e-3"), "optimizer.muon_lr, which takes whole matrices"),
        (
            (*NO_EMA, "objective=consistency"),
            "trainer=sharded with Consistency, which learns from an averaged",
        ),
    ],
)
def test_what_cannot_be_sharded_is_refused(
    run: Callable[..., dict[str, float]], overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run("+fix=full32", "trainer=sharded", *overrides)
