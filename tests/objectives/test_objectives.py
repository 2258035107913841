"""Each objective's loss, written out by hand, on a real small SmolVLA; and what it needs and costs."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch

from reflow.config_path import CONFIG_DIR
from reflow.data import SAMPLE, VISIT
from reflow.distill.module import Distillation
from reflow.distill.student import make_student
from reflow.endpoints.source import LiveEndpoints, StoredEndpoints
from reflow.flow import EULER, EndpointTime, GridTime, InverseWeighted, PaddingRule, PseudoHuber, UniformTime
from reflow.objectives import (
    Consistency,
    Cost,
    Drifting,
    Endpoint,
    FlowMatching,
    Mip,
    Objective,
    Reflow,
    Shortcut,
    SnapFlow,
    Step,
)
from reflow.objectives.consistency import end
from reflow.objectives.drifting import drift
from reflow.policies import load_policy
from tests.builders import make_batch
from tests.distill.conftest import composed

TOLERANCE: dict[str, float] = {
    "rtol": 1e-5,
    "atol": 1e-7,
}  # two orders of summing a few thousand float32 squares


def module_and_batch(folder: Path, objective: Objective, **rule: Any) -> tuple[Distillation, dict[str, Any]]:
    teacher = load_policy(folder)
    full = {"noise_dims": "full", "target_dims": "full", "loss_dims": "full"}
    padding = PaddingRule(teacher.space, **(full | rule))
    student = make_student(teacher, folder, padding)
    with torch.no_grad():  # or it would still be the teacher
        student.policy.model.action_out_proj.bias.add_(0.3)
    endpoints = LiveEndpoints(teacher, EULER, teacher.num_steps, padding)
    batch = make_batch(teacher, 3) | {SAMPLE: torch.tensor([5, 0, 9]), VISIT: torch.tensor([0, 1, 0])}
    return Distillation(teacher, student, objective, endpoints, padding, seed=3), batch


def with_actions(module: Distillation, batch: dict[str, Any]) -> dict[str, Any]:
    """The batch with actions, of which the second observation's last three lie past the episode's end."""
    space = module.rule.space
    generator = torch.Generator().manual_seed(1)
    is_pad = torch.zeros(3, space.chunk_size, dtype=torch.bool)
    is_pad[1, -3:] = True
    action = torch.randn(3, space.chunk_size, space.action_dim, generator=generator)
    return batch | {"action": action, "action_is_pad": is_pad}


@pytest.mark.parametrize("loss_dims", ["real", "full"])
def test_endpoint_regresses_where_one_step_ends(teacher_folder: Path, loss_dims: str) -> None:
    module, batch = module_and_batch(teacher_folder, Endpoint(draws=2), loss_dims=loss_dims)
    step, space = module.step(batch), module.rule.space
    noise = step.noise(2)
    with torch.no_grad():
        loss = module.objective(step)
        one_step = module.student.walk(step.student_context, noise, 1)
        difference = (one_step - module.teacher.walk(step.teacher_context, noise)).square()
    width = space.max_action_dim if loss_dims == "full" else space.action_dim
    torch.testing.assert_close(loss.value, difference[..., :width].mean(), **TOLERANCE)
    torch.testing.assert_close(loss.real, difference[..., : space.action_dim].mean(), **TOLERANCE)


def test_endpoint_is_reflow_at_the_end_of_the_path(teacher_folder: Path) -> None:
    gradients = []
    for objective in (Endpoint(draws=2), Reflow(EndpointTime(), draws=2)):
        module, batch = module_and_batch(teacher_folder, objective)
        module.objective(module.step(batch)).value.backward()
        gradients.append(module.student.policy.model.action_out_proj.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("adapt_to_pi_aloha", [False, True])
def test_flow_matching_is_lerobots_own_training_loss(
    teacher_folder: Path, tmp_path: Path, adapt_to_pi_aloha: bool
) -> None:
    """Same noise and times through stock ``SmolVLAPolicy.forward``, the chunk's last steps past the episode's end."""
    folder = shutil.copytree(teacher_folder, tmp_path / "teacher")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"adapt_to_pi_aloha": adapt_to_pi_aloha}))
    module, batch = module_and_batch(folder, FlowMatching(UniformTime(), draws=1), loss_dims="real")
    batch = with_actions(module, batch)
    step = module.step(batch)
    noise, t = step.noise(1)[:, 0], step.times(module.objective.time, 1)[:, 0]
    with torch.no_grad():
        loss = module.objective(step).value
        own = {key: batch[key].clone() for key in ("action", "observation.state")}  # stock writes into them
        expected, _ = module.student.policy.forward({**batch, **own}, noise.clone(), t)
    torch.testing.assert_close(loss, expected, **TOLERANCE)


def test_flow_matching_asks_no_teacher(teacher_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, batch = module_and_batch(teacher_folder, FlowMatching(UniformTime()))
    batch = with_actions(module, batch)
    monkeypatch.setattr(LiveEndpoints, "__call__", lambda *_: pytest.fail("the teacher was asked"))
    module.objective(module.step(batch))
    with pytest.raises(ValueError, match="the batch has no actions"):
        module.objective(module.step({key: value for key, value in batch.items() if key != "action"}))


def test_stored_endpoints_must_be_those_asked_for(teacher_folder: Path) -> None:
    module, batch = module_and_batch(teacher_folder, Endpoint(draws=2))
    module.endpoints = StoredEndpoints()
    with pytest.raises(
        ValueError, match=r"shape \(3, 2, .*the batch has none; give the data module a pair cache"
    ):
        module.objective(module.step(batch))


OBJECTIVES = [
    (Reflow(UniformTime(), times=3), Cost(4, 3, 3)),
    (Reflow(UniformTime(), actions="data"), Cost(0, 1, 1)),
    (Endpoint(), Cost(4, 1, 1)),
    (FlowMatching(UniformTime(), times=2), Cost(0, 2, 2)),
    (Consistency(), Cost(5, 2, 1)),
    (Consistency(actions="data"), Cost(1, 2, 1)),
    (Shortcut(UniformTime()), Cost(4, 2, 1)),
    (Shortcut(UniformTime(), draws=4, share=1.0), Cost(4, 3, 1)),
    (SnapFlow(UniformTime()), Cost(0, 2, 1)),
    (SnapFlow(UniformTime(), draws=4, share=0.25), Cost(0, 1.5, 1)),
    (Mip(), Cost(0, 2, 2)),
    (Drifting(draws=4), Cost(4, 1, 1)),
]


@pytest.mark.parametrize(("objective", "cost"), OBJECTIVES)
def test_what_a_pair_costs_is_what_is_called(teacher_folder: Path, objective: Objective, cost: Cost) -> None:
    """Mean flows are left out: their derivative is one call, which is counted as the two that it costs."""
    module, batch = module_and_batch(teacher_folder, objective)
    assert objective.cost(module.teacher.num_steps) == cost
    module.student.take_steps(2 if isinstance(objective, Mip) else 1)
    calls = {"teacher": 0, "student": 0}

    def count(who: str, _: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        calls[who] += len(inputs[0])

    asked = {"teacher": [module.teacher], "student": [module.student]}
    if module.average is not None:
        asked["student"].append(module.average.policy)
    for who, policies in asked.items():
        for policy in policies:
            policy.policy.model.action_in_proj.register_forward_pre_hook(partial(count, who))
    module.objective(module.step(with_actions(module, batch)))
    per_pair = {who: number / (3 * objective.draws) for who, number in calls.items()}
    assert per_pair == {"teacher": cost.teacher_calls, "student": cost.student_calls}


@pytest.mark.parametrize("name", sorted(path.stem for path in Path(CONFIG_DIR, "objective").iterdir()))
def test_every_objective_file_builds_its_class(name: str) -> None:
    config = composed(f"objective={name}", "+fix=full32")
    objective = hydra.utils.instantiate(config.objective)
    assert isinstance(objective, Objective)
    assert type(objective).__name__.lower() == name.replace("_", "")
    assert objective.draws == (8 if name == "drifting" else 2)


@pytest.mark.parametrize("kind", [Consistency, Mip])
def test_a_single_noise_has_no_stranger_to_meet(kind: type[Objective]) -> None:
    with pytest.raises(
        ValueError, match=r"objective\.draws=1 with objective\.actions=teacher; allowed: 2 or more"
    ):
        kind(draws=1, actions="teacher")
    kind(draws=1, actions="data")


def test_mip_takes_two_steps(teacher_folder: Path) -> None:
    module, batch = module_and_batch(teacher_folder, Mip())
    with pytest.raises(
        ValueError, match=r"objective=mip with student\.num_steps=1; it is a policy of two steps"
    ):
        module.objective(module.step(with_actions(module, batch)))


def test_mip_regresses_the_action_twice(teacher_folder: Path) -> None:
    module, batch = module_and_batch(teacher_folder, Mip(draws=1), loss_dims="real")
    module.student.take_steps(2)
    step = module.step(with_actions(module, batch))
    noise, action = step.noise(1), step.action()[0]
    inside = ~batch_pad(step)
    with torch.no_grad():
        loss = module.objective(step).value
        half = (noise + action) / 2
        first = noise - step.velocity(noise, torch.ones(3, 1))
        second = half - step.velocity(half, torch.full((3, 1), 0.5)) / 2
        errors = [step.rule.space.real((guess - action).square()) for guess in (first, second)]
        each = [(error * inside).sum((2, 3)) / (inside.sum((2, 3)) * error.shape[-1]) for error in errors]
    torch.testing.assert_close(loss, torch.stack(each).mean(), **TOLERANCE)


def batch_pad(step: Step) -> torch.Tensor:
    return step.batch["action_is_pad"][:, None, :, None]


def test_consistency_ends_where_the_average_does_after_a_step_of_the_teacher(teacher_folder: Path) -> None:
    module, batch = module_and_batch(teacher_folder, Consistency(draws=2))
    with torch.no_grad():  # or all three would be one
        module.student.policy.model.action_out_proj.bias.add_(0.2)
    step = module.step(batch)
    with torch.no_grad():
        loss = module.objective(step).value
        noise = step.noise(2)
        action, t = step.endpoint(noise), step.times(GridTime(4), 2)
        other = noise.flip(1)  # the noise of the other draw
        x_t = t[..., None, None] * other + (1 - t[..., None, None]) * action
        x_s = x_t - 0.25 * step.teacher.velocity(step.teacher_context, x_t, t)
        s = (t - 0.25)[..., None, None]
        target = x_s - s * step.average.velocity(step.student_context, x_s, t - 0.25)
        target = torch.where(s == 0, x_s, target)
        answer = x_t - t[..., None, None] * step.velocity(x_t, t)
    assert (s == 0).any()
    torch.testing.assert_close(loss, (answer - target).square().mean(), **TOLERANCE)


def test_real_actions_come_below_t_1_alone_and_bring_their_mask(teacher_folder: Path) -> None:
    objective = Reflow(GridTime(2), draws=8, times=2, real_actions=0.5)
    assert objective.needs_actions
    module, batch = module_and_batch(teacher_folder, objective)
    step = module.step(with_actions(module, batch))
    pairs, t = step.pairs(8, None, "teacher").repeat(2), step.times(GridTime(2), 8, 2)
    mixed = objective.mixed(step, pairs, t)
    real = (mixed.action != pairs.action).flatten(2).any(2)
    assert not real[t == 1].any()
    assert 0 < real[t < 1].sum() < (t < 1).sum()
    assert torch.equal(mixed.action[real], step.action()[0].expand_as(pairs.action)[real])
    assert mixed.inside[~real].all()
    assert not mixed.inside[1][real[1]][:, -3:].any()  # past the episode's end


def test_drift_leads_to_what_is_wanted_and_away_from_what_is_made() -> None:
    generator = torch.Generator().manual_seed(0)
    here = torch.randn(2, 5, 6, generator=generator)
    moved = drift(here, here + 10.0, 1.0)
    assert (moved.flatten(1).sum(1) > 0).all()
    assert moved.square().mean() == pytest.approx(1.0, rel=1e-5)
    two = torch.tensor([[[-0.1], [0.1]]])
    apart = drift(two, 10 * two, 1.0)  # wanted on both sides, equally far: only the other one decides
    assert apart[0, 0, 0] < 0 < apart[0, 1, 0]


def test_drift_is_nothing_on_average_where_both_are_of_one_distribution() -> None:
    """Of 2,000 pairs of sets; one number's mean is off by at most 5 of its standard errors, of one in two million."""
    generator = torch.Generator().manual_seed(0)
    here, there = (torch.randn(2000, 4, 1, generator=generator) for _ in range(2))
    along = (drift(here, there, 0.5) * here).mean((1, 2))  # outwards, if it is anything
    assert along.mean().abs() < 5 * along.std() / 2000**0.5
    inwards = (drift(2 * here, there, 0.5) * here).mean((1, 2))  # a set that is twice as wide as it should be
    assert inwards.mean() < -5 * inwards.std() / 2000**0.5


def test_what_drifts_is_a_set() -> None:
    with pytest.raises(ValueError, match=r"objective\.draws=1; allowed: 2 or more"):
        Drifting(draws=1)
    with pytest.raises(ValueError, match=r"objective\.temperatures=\[0\.0\]; allowed: numbers above 0"):
        Drifting(temperatures=[0.0])


def test_drifting_moves_the_student_to_where_the_drift_leads(teacher_folder: Path) -> None:
    module, batch = module_and_batch(teacher_folder, Drifting(draws=4, temperatures=[0.3]), loss_dims="real")
    step = module.step(batch)
    loss = module.objective(step)
    loss.value.backward()
    # The loss is the mean square of the drift, which has unit size in the mean distance of each set.
    with torch.no_grad():
        noise = step.noise(4)
        made = noise - step.velocity(noise, torch.ones(3, 4))
        here, there = (step.rule.space.real(x).flatten(2) for x in (made, step.endpoint(noise)))
        scale = torch.cdist(here, there).mean((1, 2), keepdim=True) / here.shape[2] ** 0.5
        expected = (drift(here / scale, there / scale, 0.3) * scale).square().mean()
    torch.testing.assert_close(loss.value, expected, **TOLERANCE)
    assert module.student.policy.model.action_out_proj.bias.grad.any()


@pytest.mark.parametrize("distance", [PseudoHuber(0.1), InverseWeighted(0.5, 0.01)])
def test_a_distance_is_of_each_chunk(teacher_folder: Path, distance: Any) -> None:
    module, batch = module_and_batch(teacher_folder, Endpoint(distance=distance))
    step = module.step(batch)
    with torch.no_grad():
        loss = module.objective(step)
        squared = (
            step.student.walk(step.student_context, step.noise(2), 1) - step.endpoint(step.noise(2))
        ).square()
    each = squared.mean((2, 3))
    by_hand = (each + 0.01).sqrt() - 0.1 if isinstance(distance, PseudoHuber) else each / (each + 0.01).sqrt()
    torch.testing.assert_close(loss.value, by_hand.mean(), **TOLERANCE)
    torch.testing.assert_close(loss.real, step.rule.space.real(squared).mean(), **TOLERANCE)


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"objective\.draws is 0; allowed: 1 or more"):
        Endpoint(draws=0)
    with pytest.raises(ValueError, match=r"objective\.times is 0; allowed: 1 or more"):
        Reflow(UniformTime(), times=0)
    with pytest.raises(
        ValueError, match=r"objective\.draw_pool=1 with objective\.draws=2; allowed: 2 or more"
    ):
        FlowMatching(UniformTime(), draws=2, draw_pool=1)


def test_a_gap_is_told_where_the_loss_is_what_deployment_sees() -> None:
    told = [Reflow(UniformTime()), Endpoint()]
    untold = [
        FlowMatching(UniformTime()),
        Reflow(UniformTime(), real_actions=0.1),
        Consistency(),
        Mip(),
        Drifting(),
    ]
    untold += [Shortcut(UniformTime()), SnapFlow(UniformTime(), actions="teacher")]
    assert all(objective.tells_gap for objective in told)
    assert not any(objective.tells_gap for objective in untold)


def test_a_point_that_has_arrived_stays_where_it_is():
    class Dividing:
        def velocity(self, context: object, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return x_t / t[..., None, None]

    x_t, t = torch.ones(1, 2, 3, 4), torch.tensor([[0.0, 0.5]])
    ends = end(Dividing(), None, x_t, t)
    assert torch.equal(ends[:, 0], x_t[:, 0])
    assert torch.equal(ends[:, 1], torch.zeros(1, 3, 4))
