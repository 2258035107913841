"""A number that is none, wherever it comes from, ends a run before the update; it goes on as if nothing had been."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from reflow.distill.finite import NonFiniteLossError
from reflow.distill.module import Distillation
from reflow.endpoints.source import LiveEndpoints

Run = Callable[..., dict[str, float]]
STATE, SPOILT = "observation.state", 4
"""The fifth step: there is a checkpoint of the third."""


def spoil(patch: pytest.MonkeyPatch, what: str) -> None:
    """Something of step `SPOILT` is no number."""
    step, update, ask = (
        Distillation.training_step,
        Distillation.on_before_optimizer_step,
        LiveEndpoints.__call__,
    )
    now = [0]

    def stepping(self: Distillation, batch: dict[str, Any], batch_idx: int) -> Any:
        now[0] = self.global_step
        if what == "data" and self.global_step == SPOILT:
            batch[STATE][1, 0] = torch.nan
        if what == "student" and self.global_step == SPOILT:
            self.student.policy.model.action_out_proj.register_forward_hook(
                lambda *found: found[-1] * torch.inf
            )
        return step(self, batch, batch_idx)

    def updating(self: Distillation, optimizer: torch.optim.Optimizer) -> None:
        if what == "gradient" and self.global_step == SPOILT:
            self.student.policy.model.action_out_proj.weight.grad[0, 0] = torch.nan
        update(self, optimizer)

    def asking(self: LiveEndpoints, *arguments: Any) -> Tensor:
        endpoint = ask(self, *arguments)
        if what == "endpoint" and now[0] == SPOILT:
            endpoint[2, 0, 0, 0] = torch.inf
        return endpoint

    patch.setattr(Distillation, "training_step", stepping)
    patch.setattr(Distillation, "on_before_optimizer_step", updating)
    patch.setattr(LiveEndpoints, "__call__", asking)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("data", rf"at step 4: {STATE} is no number in samples \[\d+\];"),
        pytest.param(
            "endpoint",
            r"at step 4: the teacher's endpoint is no number in samples \[\d+\];",
            marks=pytest.mark.slow,
        ),
        (
            "gradient",
            r"the gradient of student\.policy\.model\.action_out_proj\.weight is no number at step 4, though",
        ),
        pytest.param(
            "student", r"at step 4, samples .*: .* the student's own answer is not;", marks=pytest.mark.slow
        ),
    ],
)
def test_it_is_named_and_nothing_is_lost(run: Run, tmp_path: Path, what: str, message: str) -> None:
    here = tmp_path / "run"
    run("+fix=full32")
    weights = load_file(here / "pretrained_model" / "model.safetensors")
    here.rename(tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, what)
        with pytest.raises(NonFiniteLossError, match=message):
            run("+fix=full32")
    assert torch.load(here / "checkpoints" / "last.ckpt", weights_only=False)["global_step"] == 3
    assert not (here / "pretrained_model").exists()
    run("+fix=full32")
    again = load_file(here / "pretrained_model" / "model.safetensors")
    assert all(torch.equal(again[name], weights[name]) for name in weights)
