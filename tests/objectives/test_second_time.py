"""Objectives with a second time: each loss by hand, and a student that is the same with that time folded away."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reflow.data import VISIT
from reflow.distill.module import Distillation
from reflow.errors import UserError
from reflow.flow import GridTime, UniformTime, straight_path
from reflow.objectives import MeanFlow, Shortcut, SnapFlow, Spanned
from reflow.objectives.span import asked_for
from reflow.policies import load_policy, save_policy
from tests.objectives.test_objectives import TOLERANCE, module_and_batch, with_actions
from tests.rounding import apart, of_velocity

KINDS = [MeanFlow, Shortcut, SnapFlow]


def trained(folder: Path, objective: Spanned, steps: int = 3) -> tuple[Distillation, dict[str, Any]]:
    module, batch = module_and_batch(folder, objective)
    batch = with_actions(module, batch)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-2)
    for step in range(steps):
        optimizer.zero_grad()
        outputs = module.training_step(batch, step)
        outputs["loss"].backward()
        optimizer.step()
        if module.average is not None:
            module.average.update(module.student)
    return module, batch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_steps", [1, 3])
def test_folded_is_unfolded_and_stock_lerobot_s(
    teacher_folder: Path, tmp_path: Path, kind: type[Spanned], num_steps: int
) -> None:
    module, batch = trained(teacher_folder, kind(time=UniformTime(), draws=4))
    student = module.student.eval()
    student.take_steps(num_steps)
    space, context = student.space, student.encode(batch)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(3, 2, space.chunk_size, space.max_action_dim, generator=generator)
    t = torch.full((3, 2), 1 / 3)
    bound = of_velocity(student, context.pad_masks.shape[1])
    with torch.no_grad():
        unfolded = student.velocity(context, noise, t)
        with asked_for(student, torch.full((3, 2), 1 / num_steps)):  # as it is deployed
            assert apart(student.velocity(context, noise, t), unfolded) < bound
        with asked_for(student, torch.zeros(3, 2)):
            assert (
                apart(student.velocity(context, noise, t), unfolded) > 1e-4
            )  # the second time does something
        end = student.walk(context, noise)
        module.objective.fold(student)
        folded, again = student.velocity(context, noise, t), student.walk(context, noise)
        with asked_for(student, torch.zeros(3, 2)):
            assert torch.equal(student.velocity(context, noise, t), folded)  # and nothing any more
        assert apart(folded, unfolded) < bound
        assert apart(again, end) < bound * num_steps
        stock = load_policy(save_policy(student, teacher_folder, tmp_path / "student"))
        observed = {key: value for key, value in batch.items() if not key.startswith("action")}
        chunk = stock.stock_chunk(observed, noise[:, 0])
    assert torch.equal(chunk, student.output(again)[:, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_teacher_with_another_span_stays_what_it_is(teacher_folder: Path, kind: type[Spanned]) -> None:
    module, _ = trained(teacher_folder, kind(time=UniformTime()))
    fresh = load_policy(teacher_folder)
    module.objective.fold(module.student.eval())
    for (name, ours), (_, theirs) in zip(
        module.teacher.policy.state_dict().items(), fresh.policy.state_dict().items(), strict=True
    ):
        assert torch.equal(ours, theirs), name


def test_mean_flow_s_slope_is_what_reverse_mode_says(teacher_folder: Path) -> None:
    """Weighed with any w, the forward-mode product J v is w J v, and so is (J^T w) v."""
    module, batch = trained(teacher_folder, MeanFlow(UniformTime()))
    objective, step = module.objective, module.step(batch)
    with torch.no_grad():
        for parameter in module.student.get_submodule("span").parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    x_t = step.noise(2)
    v_t = 10 * torch.cos(x_t)  # or what x_t adds would be lost in the bound
    t, span = (torch.tensor([pair] * 3) for pair in ([0.5, 0.8], [0.2, 0.6]))
    slope = objective.slope(step, x_t, t, span, v_t)
    inputs = [value.clone().requires_grad_() for value in (x_t, t, span)]
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(x_t.shape, generator=generator)
    gradients = torch.autograd.grad((weights * objective.ask(step, *inputs)).sum(), inputs)
    tangents = (v_t, torch.ones_like(t), torch.ones_like(span))
    terms = [gradient * tangent for gradient, tangent in zip(gradients, tangents, strict=True)]
    size = sum(term.abs().sum() for term in terms) + (weights * slope).abs().sum()
    # A derivative goes through each layer with up to three products where the velocity has one.
    bound = 3 * of_velocity(module.student, step.student_context.pad_masks.shape[1])
    assert slope.abs().max() > 1e-3
    assert ((weights * slope).sum() - sum(term.sum() for term in terms)).abs() < bound * size
    assert all(term.abs().sum() > 3 * bound * size for term in terms)  # each of the three takes part


def split(jumping: Tensor, draws: int) -> Tensor:
    """True for the draws that jump."""
    return torch.zeros(len(jumping), draws).scatter(1, jumping, 1.0).bool()


def test_mean_flow_learns_the_identity(teacher_folder: Path) -> None:
    objective = MeanFlow(UniformTime(), draws=4)
    module, batch = trained(teacher_folder, objective)
    step = module.step(batch)
    with torch.no_grad():
        loss = objective(step)
        pairs, t = step.pairs(4, None, "teacher"), step.times(UniformTime(), 4)
        jumps = split(objective.jumping(step), 4)
        assert jumps.sum(1).tolist() == [2, 2, 2]  # half of the draws
        span = jumps * t * (1 - step.uniform(4, 2))
        assert ((span > 0) == jumps).all()
        assert (span <= t).all()
        point = straight_path(pairs.noise, pairs.action, t)
        u = objective.ask(step, point.x_t, t, span)
        # Asked of all draws, the slope is that of each; where the span is 0 it counts for nothing.
        target = point.u_t - span[..., None, None] * objective.slope(step, point.x_t, t, span, point.u_t)
    torch.testing.assert_close(loss.value, (u - target).square().mean(), **TOLERANCE)


def test_shortcut_s_big_step_is_two_of_the_average_half_as_big(teacher_folder: Path) -> None:
    objective = Shortcut(UniformTime(), draws=8, halvings=1)
    module, batch = trained(teacher_folder, objective)
    step = module.step(batch)
    jumps = split(objective.jumping(step), 8)
    span = torch.where(jumps, 0.5 ** (step.uniform(8, 2) * 2).floor(), 0.0)
    begin = ((step.uniform(8, 3) / span).floor() + 1) * span
    t = torch.where(jumps, begin, step.times(UniformTime(), 8))
    assert set(span.flatten().tolist()) == {1.0, 0.5, 0.0}
    assert set(t[span == 0.5].tolist()) == {1.0, 0.5}
    assert set(t[span == 1.0].tolist()) == {1.0}
    with torch.no_grad():
        loss = objective(step)
        pairs = step.pairs(8, None, "teacher")
        point = straight_path(pairs.noise, pairs.action, t)
        smaller = torch.where(span == 1.0, 0.5, 0.0)  # below the last halving, the velocity itself
        first = objective.ask(step, point.x_t, t, smaller, step.average)
        half = span[..., None, None] / 2
        second = objective.ask(step, point.x_t - half * first, t - span / 2, smaller, step.average)
        target = torch.where(jumps[..., None, None], (first + second) / 2, point.u_t)
        answer = objective.ask(step, point.x_t, t, span)
    torch.testing.assert_close(loss.value, (answer - target).square().mean(), **TOLERANCE)


@pytest.mark.parametrize("num_steps", [1, 2])
def test_snapflow_s_jump_is_two_steps_along_its_own_velocity_and_asks_no_teacher(
    teacher_folder: Path, monkeypatch: pytest.MonkeyPatch, num_steps: int
) -> None:
    objective = SnapFlow(UniformTime(), draws=4)
    module, batch = trained(teacher_folder, objective)
    module.student.take_steps(num_steps)
    assert objective.needs_actions
    assert not objective.needs_endpoints
    monkeypatch.setattr(type(module.endpoints), "__call__", lambda *_: pytest.fail("the teacher was asked"))
    step = module.step(batch)
    with torch.no_grad():
        loss = objective(step)
        pairs, jumps = step.pairs(4, None, "data"), split(objective.jumping(step), 4)
        t = torch.where(jumps, step.times(GridTime(num_steps), 4), step.times(UniformTime(), 4))
        assert set(t[jumps].tolist()) <= {1.0, 1 / num_steps}
        point = straight_path(pairs.noise, pairs.action, t)
        now, half = torch.zeros_like(t), 0.5 / num_steps
        first = objective.ask(step, point.x_t, t, now)
        second = objective.ask(step, point.x_t - half * first, t - half, now)
        target = torch.where(jumps[..., None, None], (first + second) / 2, point.u_t)
        error = (objective.ask(step, point.x_t, t, jumps / num_steps) - target).square()
    inside = pairs.inside.expand(error.shape)
    torch.testing.assert_close(loss.value, error[inside].mean(), **TOLERANCE)


def test_other_draws_jump_at_other_visits(teacher_folder: Path) -> None:
    objective = MeanFlow(UniformTime(), draws=4, share=0.25)
    module, batch = module_and_batch(teacher_folder, objective)
    chosen = {
        visit: objective.jumping(module.step(batch | {VISIT: torch.full((3,), visit)})).tolist()
        for visit in range(8)
    }
    assert all(len(draws) == 1 for rows in chosen.values() for draws in rows)
    assert len({str(rows) for rows in chosen.values()}) > 1


def test_a_frozen_velocity_is_refused(teacher_folder: Path) -> None:
    student = load_policy(teacher_folder).requires_grad_(False)
    with pytest.raises(UserError, match=r"student\.trained must contain velocity"):
        MeanFlow(UniformTime()).prepare(student)


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(UserError, match=r"objective\.share is 0\.0; allowed: above 0, up to 1"):
        MeanFlow(UniformTime(), share=0.0)
    with pytest.raises(UserError, match=r"objective\.halvings is -1; allowed: 0 or more"):
        Shortcut(UniformTime(), halvings=-1)
    with pytest.raises(UserError, match=r"objective\.actions=both; allowed: teacher .* or data"):
        SnapFlow(UniformTime(), actions="both")  # type: ignore[arg-type]  # that is the point
