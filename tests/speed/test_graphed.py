"""CUDA graphs without a GPU: the order of calls is the documented one, and a replay follows its inputs."""

import pytest
import torch
from lerobot.utils.constants import OBS_STATE

from reflow.errors import UserError
from reflow.policies import with_velocity
from reflow.speed.graphed import GraphedWalk, NotRecordableError, graphed, tensors_in
from tests.rounding import apart, of_policy
from tests.speed import recorder


def test_work_is_warmed_up_aside_and_then_recorded_once(monkeypatch):
    said = recorder.install(monkeypatch)
    number = torch.tensor([1.0, 2.0])

    def work() -> torch.Tensor:
        said.append("work")
        return 2 * number

    replay = graphed(work, warmup=2)
    assert said == [
        "side waits for current", "on side", "work", "work", "on current", "current waits for side",
        "recording", "work", "recorded",
    ]  # fmt: skip
    first = replay()
    number.copy_(torch.tensor([5.0, 7.0]))
    assert replay() is first
    assert first.tolist() == [10.0, 14.0]
    assert said[-1] == "recorded"  # the host did nothing more


def test_autocast_keeps_no_weights_for_a_graph(monkeypatch):
    recorder.install(monkeypatch)
    weight, seen = torch.ones(2, 2, requires_grad=True), []

    def work() -> torch.Tensor:
        seen.append(torch.is_autocast_cache_enabled())
        return weight @ weight

    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        replay = graphed(work)
        assert torch.is_autocast_cache_enabled()
    assert seen == [False] * 4
    weight.data.fill_(3.0)
    assert replay().tolist() == [[18.0, 18.0], [18.0, 18.0]]  # with a kept copy it would be that of before


def test_work_that_waits_is_refused_and_nothing_else_is_changed(monkeypatch):
    recorder.install(monkeypatch)
    number = torch.ones(())
    with pytest.raises(
        NotRecordableError, match="cannot be recorded as a CUDA graph: operation not permitted"
    ):
        graphed(lambda: number * number.item())
    assert torch.is_autocast_cache_enabled()


def test_without_a_gpu_there_is_no_graph(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="needs a GPU, and torch sees none here; measure eager and compiled"):
        graphed(lambda: None)


@pytest.mark.parametrize("way", ["stock", "shared"])
def test_a_graphed_walk_follows_observation_and_noise(monkeypatch, workshop, way):
    recorder.install(monkeypatch)
    flow = with_velocity(workshop.student, way)
    batch = next(iter(workshop.data.train_dataloader()))
    one, other = (
        {
            key: value[row : row + 1] if isinstance(value, torch.Tensor) else value
            for key, value in batch.items()
        }
        for row in (0, 1)
    )
    assert not torch.equal(one[OBS_STATE], other[OBS_STATE])
    noise = torch.randn(2, 1, 1, flow.space.chunk_size, flow.space.max_action_dim)
    with torch.inference_mode():
        contexts = [flow.encode(one), flow.encode(other)]
        expected = [flow.walk(context, start, 3) for context, start in zip(contexts, noise, strict=True)]
        kept = [tensor.clone() for tensor in tensors_in(contexts[0])]
        walk = GraphedWalk(flow, contexts[0], noise[0], 3)
        for turn in (1, 0, 1):
            assert apart(walk(contexts[turn], noise[turn]), expected[turn]) < of_policy(flow)
        assert apart(expected[0], expected[1]) > 1e-2
    assert all(map(torch.equal, kept, tensors_in(contexts[0])))  # what was given stays as it was


def test_a_graph_takes_one_noise(workshop):
    with pytest.raises(UserError, match=r"noise has shape \(1, 4, 8, 32\); a graph takes one noise"):
        GraphedWalk(workshop.student, None, torch.zeros(1, 4, 8, 32))
