"""Training-time real-time chunking: the first actions given, told from noise by their padding; who cannot be."""

from pathlib import Path
from typing import Any

import pytest
import torch

from reflow.data import VISIT
from reflow.errors import UserError
from reflow.flow import ActionSpace, Coupling, GridTime, UniformTime, give, straight_path
from reflow.objectives import Endpoint, FlowMatching, Objective, Reflow
from tests.builders import make_teacher_folder
from tests.objectives.test_objectives import TOLERANCE, module_and_batch, with_actions

MOST = 5


def test_given_actions_stand_still_and_have_no_noise_in_their_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    noise, action = (torch.randn(2, 3, 6, 5, generator=generator) for _ in range(2))
    count = torch.tensor([[0, 1, 6], [2, 3, 5]])
    pairs = Coupling(noise, action).given(count, ActionSpace(3, 5, 6))
    first = torch.arange(6) < count[..., None]
    assert torch.equal(pairs.noise[~first], noise[~first])
    assert torch.equal(pairs.action[~first], action[~first])
    assert torch.equal(pairs.noise[first][:, :3], action[first][:, :3])
    assert not pairs.noise[first][:, 3:].any()
    assert torch.equal(pairs.action[first], pairs.noise[first])
    point = straight_path(pairs.noise, pairs.action, torch.rand(2, 3, generator=generator))
    assert not point.u_t[first].any()
    torch.testing.assert_close(point.x_t[first], pairs.action[first])


def test_actions_of_real_width_are_given_too() -> None:
    noise, action = torch.ones(1, 4, 5), torch.full((1, 4, 3), 2.0)
    given = give(noise, action, torch.tensor([2]), ActionSpace(3, 5, 4))
    assert given[0].tolist() == [[2, 2, 2, 0, 0]] * 2 + [[1] * 5] * 2


def given_by_hand(objective: Objective, step: Any, pairs: Coupling, times: int) -> Coupling:
    """Counted out action by action."""
    count = (step.uniform(objective.draws, 4) * (MOST + 1)).floor().int().repeat_interleave(times, 1)
    noise, action = pairs.noise.clone(), pairs.action.clone()
    width = step.rule.space.action_dim
    for b, k in torch.cartesian_prod(*map(torch.arange, count.shape)).tolist():
        for chunk in (noise, action):
            chunk[b, k, : count[b, k], :width] = pairs.action[b, k, : count[b, k], :width]
            chunk[b, k, : count[b, k], width:] = 0.0
    return Coupling(noise, action, pairs.inside)


@pytest.mark.parametrize("times", [1, 2])
def test_reflow_learns_the_rest_of_a_chunk(teacher_folder: Path, times: int) -> None:
    objective = Reflow(GridTime(2), draws=3, times=times, rtc_training_max_delay=MOST)
    module, batch = module_and_batch(teacher_folder, objective)
    step = module.step(batch)
    with torch.no_grad():
        loss = module.objective(step).value
        t = step.times(GridTime(2), 3, times)
        pairs = given_by_hand(objective, step, step.pairs(3, None, "teacher").repeat(times), times)
        x_t = t[..., None, None] * pairs.noise + (1 - t[..., None, None]) * pairs.action
        expected = (step.velocity(x_t, t) - (pairs.noise - pairs.action)).square().mean()
    torch.testing.assert_close(loss, expected, **TOLERANCE)


def test_endpoint_learns_the_rest_of_a_chunk(teacher_folder: Path) -> None:
    objective = Endpoint(draws=3, rtc_training_max_delay=MOST)
    module, batch = module_and_batch(teacher_folder, objective)
    step = module.step(batch)
    with torch.no_grad():
        loss = module.objective(step).value
        pairs = given_by_hand(objective, step, step.pairs(3, None, "teacher"), 1)
        ends = step.student.walk(step.student_context, pairs.noise, 1)
    torch.testing.assert_close(loss, (ends - pairs.action).square().mean(), **TOLERANCE)


def test_flow_matching_is_given_the_data_s_own_actions(teacher_folder: Path) -> None:
    objective = FlowMatching(UniformTime(), draws=3, rtc_training_max_delay=MOST)
    module, batch = module_and_batch(teacher_folder, objective)
    step = module.step(with_actions(module, batch))
    given = objective.given(step, step.pairs(3, None, "data"))
    own, inside = step.action()
    still = (given.noise == given.action).all(-1)  # [b, k, h]
    assert still.any()
    assert torch.equal(given.noise[still], own.expand_as(given.noise)[still])
    assert given.inside is not None
    assert torch.equal(given.inside, inside.expand(-1, 3, -1, -1))


def test_every_number_of_given_actions_is_met_and_changes_from_visit_to_visit(teacher_folder: Path) -> None:
    objective = Reflow(UniformTime(), draws=60, rtc_training_max_delay=MOST)
    module, batch = module_and_batch(teacher_folder, objective)
    zeros = torch.zeros(3, 60, 8, module.rule.space.max_action_dim)
    pairs = Coupling(torch.ones_like(zeros), zeros)

    def counts(visit: int) -> torch.Tensor:
        step = module.step(batch | {VISIT: torch.full_like(batch[VISIT], visit)})
        return (objective.given(step, pairs).noise == 0).all(-1).sum(-1)

    first = counts(0)
    assert set(first.flatten().tolist()) == set(range(MOST + 1))
    assert torch.equal(first, counts(0))
    assert not torch.equal(first, counts(1))


def test_none_is_given_unless_asked_for(teacher_folder: Path) -> None:
    objective = Reflow(UniformTime())
    module, batch = module_and_batch(teacher_folder, objective)
    pairs = Coupling(torch.ones(3, 2, 8, 32), torch.zeros(3, 2, 8, 32))
    assert objective.given(module.step(batch), pairs) is pairs
    assert objective.tells_gap
    assert not Reflow(UniformTime(), rtc_training_max_delay=1).tells_gap  # what is given is no error


def test_who_could_not_tell_given_actions_from_noise_is_refused(teacher_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"rtc_training_max_delay is -1; allowed: 0 \(none is given\) or more"
    ):
        Reflow(UniformTime(), rtc_training_max_delay=-1)
    asked = Reflow(UniformTime(), rtc_training_max_delay=3)
    with pytest.raises(
        UserError, match=r"rtc_training_max_delay=8, but a chunk has 8 actions; allowed: fewer"
    ):
        module_and_batch(teacher_folder, Reflow(UniformTime(), rtc_training_max_delay=8))
    with pytest.raises(UserError, match=r"with padding\.noise=real: .* choose \+fix=full32"):
        module_and_batch(teacher_folder, asked, noise_dims="real")
    with pytest.raises(UserError, match=r"with padding\.inert=true: .* choose \+fix=full32"):
        module_and_batch(teacher_folder, asked, inert=True)
    full = make_teacher_folder(tmp_path / "full", action_dim=32, num_steps=4)
    with pytest.raises(UserError, match=r"this policy of type smolvla has no padding; train it without"):
        module_and_batch(full, asked)
