"""The fake GPU itself, and that it finds what is forgotten: each of these forgets one move on purpose."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reflow.data.frames import ENDPOINT
from reflow.distill.module import Distillation
from reflow.objectives import Endpoint, Loss
from reflow.objectives.step import Step
from reflow.policies.frozen import Frozen
from reflow.policies.smolvla import expert
from reflow.probes.probe import Probe
from tests.fake_cuda import conftest
from tests.fake_cuda.device import GPU, FakeGPU, value_of
from tests.fake_cuda.test_steps import learn, slow, validate

MIXED = "found two different devices (cuda:0, cpu|cpu, cuda:0)|wrapped to wrong device, found cpu, expected cuda:0"


@pytest.fixture
def gpu():
    with FakeGPU().switched_on() as gpu:
        yield gpu


def test_tensors_are_on_the_gpu_and_have_values(gpu):
    there = torch.tensor([3.0, 1.0, 2.0]).to(GPU)
    assert there.device == GPU
    assert there.sort().values.tolist() == [1.0, 2.0, 3.0]
    assert there[there > 1.5].cpu().tolist() == [3.0, 2.0]
    assert torch.tensor([there[0], there[1]], device=GPU).sum().item() == 4.0
    assert value_of(there.add_(1.0)).tolist() == [4.0, 2.0, 3.0]


def test_devices_do_not_mix(gpu):
    there = torch.ones(3, device=GPU)
    with pytest.raises(RuntimeError, match=MIXED):
        there + torch.ones(3)
    with pytest.raises(RuntimeError, match=MIXED):
        nn.Linear(3, 3)(there)
    assert (there + torch.tensor(1.0)).device == GPU  # a number is a number, on a real one too


def test_what_waits_is_noted(gpu):
    host = torch.ones(3)
    there = host.pin_memory().to(GPU, non_blocking=True)
    assert (there * 2 + torch.zeros(3, device=GPU)).device == GPU
    torch.full((), 2.0, device=GPU)
    assert gpu.waits == []
    there.sum().item()
    host.to(GPU)
    torch.tensor([1.0], device=GPU)
    there.cpu()
    assert [wait.partition(" ")[0] for wait in gpu.waits] == [
        "aten::_local_scalar_dense",
        *["aten::_to_copy"] * 3,
    ]


def test_autocast_is_that_of_a_gpu(gpu):
    with torch.autocast("cuda", torch.bfloat16):
        product = torch.ones(2, 2, device=GPU) @ torch.ones(2, 2, device=GPU)
    assert (product.dtype, product.device) == (torch.bfloat16, GPU)


def test_gradients_are_those_of_torch_s_engine():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 4))
    x = torch.randn(5, 4)

    def loss(net: nn.Module, x: Tensor) -> Tensor:
        y = net(x)
        return (y * y.softmax(-1) + y[:, :1]).square().mean()  # read more than once, and broadcast

    loss(net, x).backward()
    there = copy.deepcopy(net)
    there.zero_grad()
    with FakeGPU().switched_on():
        there.to(GPU)
        for _ in range(2):  # gradients add up
            loss(there, x.to(GPU)).backward()
    for one, other in zip(net.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(value_of(other.grad), 2 * one.grad)


def test_a_gradient_on_the_wrong_device_is_found(gpu):
    class Astray(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 1.0

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return gradient.cpu()

    x = torch.ones(3, device=GPU, requires_grad=True)
    with pytest.raises(RuntimeError, match="a gradient on cpu of a tensor on cuda:0"):
        Astray.apply(x * 2.0).sum().backward()


class Forgetful(Endpoint):
    """Its times are on the host."""

    def forward(self, step: Step) -> Loss:
        pairs = step.pairs(self.draws, self.draw_pool, self.actions)
        v_1 = step.velocity(pairs.noise, torch.ones(pairs.noise.shape[:2]))
        return self.regress(v_1, pairs.noise - pairs.action, step.rule)


def forget(monkeypatch: pytest.MonkeyPatch, what: str) -> tuple[str, str | None]:
    """Forgets to move something; the objective and the source of endpoints that meet it."""
    if what == "noise":
        monkeypatch.setattr(Distillation, "_send", lambda self, tensor: tensor)
    elif what == "teacher":
        monkeypatch.setattr(Frozen, "to", lambda self, device: None)
    elif what == "average":
        monkeypatch.setattr(Distillation, "on_fit_start", lambda self: self._frozen.to(self.device))
        return "consistency", None
    elif what == "stored endpoints":
        made = conftest.Lesson.moved
        monkeypatch.setattr(
            conftest.Lesson, "moved", lambda self, batch: made(self, batch) | {ENDPOINT: batch[ENDPOINT]}
        )
        return "reflow", None
    elif what == "objective's times":
        monkeypatch.setitem(conftest.OBJECTIVES, "endpoint", Forgetful)
        return "endpoint", None
    elif what == "policy's mask":
        monkeypatch.setattr(
            expert,
            "_visible",
            lambda masks, chunk: torch.ones(len(masks), chunk, masks.shape[1] + chunk).bool(),
        )
    return "reflow", "live"


FORGOTTEN = ["noise", "teacher", "average", "stored endpoints", "objective's times", "policy's mask"]


@pytest.mark.parametrize("what", [what if what == "noise" else slow(what) for what in FORGOTTEN])
def test_what_is_forgotten_on_the_host_is_found(monkeypatch, lesson_of, what):
    objective, store = forget(monkeypatch, what)
    with pytest.raises(RuntimeError, match=MIXED):
        learn(lesson_of("smolvla"), objective, store)


@pytest.mark.slow
def test_a_metric_that_is_forgotten_on_the_host_is_found(monkeypatch, lesson_of):
    def add(self: Probe, name: str, kind: Any, *values: Tensor) -> None:
        if name not in self.metrics:
            self.metrics[name] = kind(self.by.space)
        self.metrics[name].update(*values)

    monkeypatch.setattr(Probe, "add", add)
    with pytest.raises(RuntimeError, match=MIXED):
        validate(lesson_of("smolvla"))
