"""A loss that is no number: seen at once on a CPU; left out on an accelerator until the next look."""

import pytest
import torch
from torch import Tensor, nn

from reflow.distill.finite import FiniteLoss, NonFiniteLossError

SAMPLES = torch.tensor([4, 2])


def number(value: float, device: str = "cpu") -> Tensor:
    return torch.tensor(value, device=device)


def test_a_cpu_looks_at_every_loss() -> None:
    watcher = FiniteLoss(every=50)
    watcher.watch(number(0.5), SAMPLES, 0)
    with pytest.raises(NonFiniteLossError, match=r"loss is inf at step 1, samples \[4, 2\].*optimizer\.lr"):
        watcher.watch(number(float("inf")), SAMPLES, 1)


class Elsewhere(Tensor):
    """A tensor on the CPU that says it is on an accelerator: the device is all that is pretended."""

    @property
    def device(self) -> torch.device:
        return torch.device("cuda")

    def detach(self) -> Tensor:
        return self.as_subclass(Tensor).detach()


def elsewhere(value: float) -> Tensor:
    return torch.tensor(value).as_subclass(Elsewhere)


@pytest.mark.parametrize("fused", [True, False])
def test_an_accelerator_leaves_the_update_out_and_tells_later(fused: bool) -> None:
    layer = nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=fused)
    watcher = FiniteLoss(every=4)

    def step(factor: float) -> None:
        optimizer.zero_grad()
        loss = factor * layer(torch.ones(3)).square().sum()
        loss.backward()
        watcher.watch(elsewhere(loss.item()), SAMPLES, int(step.count))
        step.count += 1
        watcher.guard(optimizer)
        optimizer.step()

    step.count = 0
    start = layer.weight.clone()
    step(1.0)
    after_one = layer.weight.clone()
    assert not torch.equal(after_one, start)
    if not fused:  # an optimizer that cannot leave out is stopped before the update
        with pytest.raises(NonFiniteLossError, match="loss is nan at step 1"):
            step(float("nan"))
        return
    step(float("nan"))
    assert torch.equal(layer.weight, after_one)
    step(1.0)
    assert not torch.equal(layer.weight, after_one)
    assert layer.weight.isfinite().all()
    with pytest.raises(NonFiniteLossError, match=r"loss is nan at step 1, samples \[4, 2\]"):
        step(1.0)  # the fourth: a look is due


def test_the_last_look_finds_what_no_look_was_due_for() -> None:
    watcher = FiniteLoss(every=100)
    watcher.watch(elsewhere(1.0), SAMPLES, 0)
    watcher.watch(elsewhere(float("nan")), SAMPLES, 1)
    with pytest.raises(NonFiniteLossError, match="at step 1"):
        watcher.look()
    watcher.look()  # nothing is asked twice
