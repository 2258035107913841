"""One training and one validation step on a fake GPU: every policy, every objective, live and from a pair cache.

A tensor that was left on the host raises. The numbers are held against the CPU's, so that what ran is what trains.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from reflow.distill.averaging import TrainedWeightsEMA
from reflow.distill.callbacks import Measure
from reflow.distill.module import Distillation
from reflow.policies import StorablePrefix
from reflow.probes import (
    Distributions,
    EndpointErrors,
    FlowOfOneObservation,
    PaddingAsDeployed,
    Probe,
    StraightnessOfFlows,
    VelocityErrors,
)
from tests.contract.cases import POLICIES
from tests.fake_cuda.conftest import OBJECTIVES, Lesson
from tests.fake_cuda.device import GPU, FakeGPU, value_of


def slow(name: str) -> Any:
    """A parameter of the slow suite alone."""
    return pytest.param(name, marks=pytest.mark.slow)


KINDS = [name if name == "smolvla" else slow(name) for name in POLICIES]


def trainer_around(step: int = 0) -> Any:
    """What the module and its measuring callback ask of Lightning's."""
    return SimpleNamespace(
        global_step=step,
        max_steps=10,
        world_size=1,
        precision_plugin=SimpleNamespace(),
        state=SimpleNamespace(fn=TrainerFn.VALIDATING),
        strategy=SimpleNamespace(reduce=lambda tensor, reduce_op: tensor),
        loggers=[],
    )


def train_step(module: Distillation, batch: dict[str, Any], step: int, optimizer: Any) -> dict[str, Tensor]:
    """One step as Lightning makes it."""
    module._trainer = trainer_around(step)
    module.on_train_batch_start(batch, step)
    outputs = module.training_step(batch, step)
    outputs["loss"].backward()
    module.on_before_optimizer_step(optimizer)
    optimizer.step()
    optimizer.zero_grad()
    module.on_train_batch_end(outputs, batch, step)
    return outputs


def onto_gpu(module: Distillation) -> Any:
    """Moves a module as Lightning does; its optimizer."""
    module._trainer = trainer_around()
    module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    module.to(GPU)
    module.on_fit_start()
    return module.configure_optimizers()["optimizer"]


def skip_unfollowed(kind: str, objective: str) -> None:
    """Leaves out what the fake GPU cannot follow: a forward-mode derivative that torch takes in Python there."""
    if objective == "mean_flow" and kind in ("evo1", "xvla"):
        pytest.skip("torch's own derivatives, in Python for fake tensors, make some of them on no device")


def learn(lesson: Lesson, objective: str, store: str | None = "live") -> tuple[FakeGPU, Distillation]:
    """Two training steps on a fake GPU, the second of which reads what the first has written."""
    stored, gpu = store != "live", FakeGPU()
    module = lesson.distillation(objective, stored)
    batch = lesson.stored(module.teacher, module.objective.draws, store) if stored else lesson.batch
    with gpu.switched_on():
        optimizer = onto_gpu(module)
        there = lesson.moved(batch)
        gpu.waits.clear()
        for step in range(2):
            outputs = train_step(module, there, step, optimizer)
        assert outputs["loss"].device == GPU
        assert torch.isfinite(value_of(outputs["loss"]))
    return gpu, module


def validate(lesson: Lesson, *more: Probe) -> dict[str, Any]:
    """What the measuring callback logs of a batch on a fake GPU, after one training loss."""
    module, logged = lesson.distillation("reflow"), dict[str, Any]()
    probes = [
        EndpointErrors((1, 2), 4, to_reference=True),
        PaddingAsDeployed(),
        StraightnessOfFlows(num_steps=2),
    ]
    callback = Measure([VelocityErrors(), *probes, FlowOfOneObservation(4), *more])
    trainer = trainer_around()
    with FakeGPU().switched_on():
        onto_gpu(module)
        module.log_dict = logged.update  # type: ignore[method-assign]
        module.log = lambda name, value, **_: logged.update({name: value})  # type: ignore[method-assign]
        there = lesson.moved(lesson.batch)
        callback.on_train_batch_end(trainer, module, module.training_step(there, 0), there, 0)
        module.on_validation_start()
        callback.on_validation_epoch_start(trainer, module)
        callback.on_validation_batch_end(trainer, module, None, there, 0)
        callback.on_validation_epoch_end(trainer, module)
    return logged


def stores(policy: Any) -> list[str | None]:
    return [None, "vision", "prefix"] if isinstance(policy, StorablePrefix) else [None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "objective", [name if name in ("reflow", "consistency") else slow(name) for name in OBJECTIVES]
)
def test_a_training_step_with_a_live_teacher_stays_on_the_gpu(lesson_of, kind, objective):
    skip_unfollowed(kind, objective)
    _, module = learn(lesson_of(kind), objective)
    assert {parameter.device for parameter in module.parameters()} == {GPU}


@pytest.mark.slow
@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "flow_matching"])
@pytest.mark.parametrize("kind", POLICIES)
def test_a_training_step_from_a_pair_cache_stays_on_the_gpu(lesson_of, kind, objective):
    skip_unfollowed(kind, objective)
    lesson = lesson_of(kind)
    for store in stores(lesson.distillation(objective).teacher):
        learn(lesson, objective, store)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_the_cpu_s(lesson_of, kind):
    lesson, gpu = lesson_of(kind), FakeGPU()
    module = lesson.distillation("reflow")
    if kind == "evo1":  # on a GPU alone it computes in 16 bits
        for policy in (module.teacher, module.student):
            policy.policy.config.use_amp = False
    with sdpa_kernel(SDPBackend.MATH):
        loss = module.training_step(lesson.batch, 0)["loss"]
        loss.backward()
    expected = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    with gpu.switched_on():
        onto_gpu(module)
        there = lesson.moved(lesson.batch)
        again = module.training_step(there, 0)["loss"]
        again.backward()
    found = {name: value_of(p.grad) for name, p in module.named_parameters() if p.grad is not None}
    assert torch.equal(value_of(again), loss.detach())
    assert found.keys() == expected.keys()
    for name, gradient in found.items():  # sums of several parts come in another order
        torch.testing.assert_close(gradient, expected[name], msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_validation_step_stays_on_the_gpu(lesson_of, kind):
    logged = validate(lesson_of(kind))
    assert logged["student/endpoint_error@1"] > 0
    assert {"teacher/solver_error", "deploy/loss", "deploy/gap"} <= logged.keys()
    assert all(torch.isfinite(torch.as_tensor(value)) for value in logged.values())


@pytest.mark.slow
def test_distributions_are_measured_on_the_gpu(lesson_of):
    logged = validate(lesson_of("smolvla"), Distributions([1], observations=1, noises=64))
    assert logged["distribution/energy@1"] > 0


@pytest.mark.parametrize(
    "objective", ["reflow", *(slow(name) for name in ("mip", "mean_flow", "shortcut", "drifting"))]
)
def test_without_a_prefix_to_encode_no_step_waits_for_the_gpu(lesson_of, objective):
    gpu, _ = learn(lesson_of("smolvla"), objective, "prefix")
    assert gpu.waits == []


def test_the_average_of_the_weights_is_on_the_gpu_and_waits_for_nothing(lesson_of):
    module, gpu, ema = lesson_of("smolvla").distillation("reflow"), FakeGPU(), TrainedWeightsEMA(0.9)
    first = {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}
    ema.setup(trainer_around(), module, "fit")  # as Lightning does, before it moves the module
    with gpu.switched_on():
        onto_gpu(module)
        ema.on_fit_start(trainer_around(), module)
        gpu.waits.clear()
        for step in (1, 2):
            with torch.no_grad():
                for parameter in module.parameters():
                    if parameter.requires_grad:
                        parameter.mul_(2.0)
            ema.on_train_batch_end(trainer_around(step), module, None, None, 0)
        assert gpu.waits == []
    averaged = dict(ema._average_model.module.named_parameters())
    kept = 2 / 11  # of the first value, after one update; (1 + 1) / (10 + 1)
    for name, value in first.items():
        assert averaged[name].device == GPU
        torch.testing.assert_close(value_of(averaged[name]), (kept * 2 + (1 - kept) * 4) * value)
