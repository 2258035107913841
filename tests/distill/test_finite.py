"""A loss or gradient that is no number: seen at once on a CPU; on an accelerator left out until the next look."""

import pytest
import torch
from torch import Tensor, nn

from reflow.distill.finite import FiniteNumbers, NonFiniteLossError

SAMPLES = torch.tensor([4, 2])


class Run:
    """Steps of a small layer whose losses and gradients are spoilt as asked."""

    def __init__(self, *, every: int = 50, fused: bool = True, on_host: bool = True) -> None:
        self.layer = nn.Linear(3, 1)
        self.optimizer = torch.optim.AdamW(self.layer.parameters(), lr=0.1, fused=fused)
        self.watcher, self.on_host, self.steps = FiniteNumbers(every), on_host, 0

    def step(self, factor: float = 1.0, gradient: float = 1.0) -> Tensor:
        """One step; the weight after it."""
        self.optimizer.zero_grad()
        loss = factor * self.layer(torch.ones(3)).square().sum()
        loss.backward()
        self.layer.bias.grad *= gradient
        self.watcher.watch(loss if self.on_host else loss.as_subclass(Elsewhere), SAMPLES, self.steps)
        self.steps += 1
        self.watcher.guard(self.optimizer, self.layer.named_parameters())
        self.optimizer.step()
        return self.layer.weight.detach().clone()


class Elsewhere(Tensor):
    """A tensor on the CPU that says it is on an accelerator: the device is all that is pretended."""

    @property
    def device(self) -> torch.device:
        return torch.device("cuda")

    def detach(self) -> Tensor:
        return self.as_subclass(Tensor).detach()


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (
            {"factor": float("inf")},
            r"loss is inf at step 1, samples \[4, 2\].*student's own answer.*optimizer\.lr",
        ),
        (
            {"gradient": float("nan")},
            r"gradient of bias is no number at step 1, though the loss is.*\[4, 2\]",
        ),
    ],
)
def test_a_cpu_looks_before_every_update(spoilt: dict[str, float], message: str) -> None:
    run = Run()
    before = run.step()
    with pytest.raises(NonFiniteLossError, match=message):
        run.step(**spoilt)
    assert torch.equal(run.layer.weight, before)


def test_what_the_loss_was_made_of_is_named_with_its_samples() -> None:
    watcher = FiniteNumbers()
    watcher.note({"state": torch.zeros(2, 3), "task": ["a", "b"], "index": torch.tensor([1, 2])})
    watcher.note({"the teacher's endpoint": torch.tensor([[1.0, 2.0], [1.0, float("inf")]])})
    watcher.watch(torch.tensor(float("nan")), SAMPLES, 7)
    with pytest.raises(
        NonFiniteLossError, match=r"step 7: the teacher's endpoint is no number in samples \[2\]"
    ):
        watcher.look()


@pytest.mark.parametrize("spoilt", [{"factor": float("nan")}, {"gradient": float("inf")}])
@pytest.mark.parametrize("fused", [True, False])
def test_an_accelerator_leaves_updates_out_until_the_look(fused: bool, spoilt: dict[str, float]) -> None:
    run = Run(every=4, fused=fused, on_host=False)
    start = run.layer.weight.clone()
    after_one = run.step()
    assert not torch.equal(after_one, start)
    if not fused:  # an optimizer that cannot leave out is stopped before the update
        with pytest.raises(NonFiniteLossError, match="at step 1"):
            run.step(**spoilt)
        return
    assert torch.equal(run.step(**spoilt), after_one)
    assert torch.equal(run.step(), after_one)  # what comes after would not have been without it
    with pytest.raises(NonFiniteLossError, match=r"at step 1.*\[4, 2\]"):
        run.step()  # the fourth: a look is due
    assert torch.equal(run.layer.weight, after_one)


def test_the_last_look_finds_what_no_look_was_due_for() -> None:
    run = Run(every=100, on_host=False)
    run.step()
    run.step(float("nan"))
    with pytest.raises(NonFiniteLossError, match="at step 1"):
        run.watcher.look()
    run.watcher.look()  # nothing is asked twice
