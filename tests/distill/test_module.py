"""The training step: the formula, the padding rules, the frozen teacher."""

import copy
import itertools
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from reflow.data import SAMPLE, VISIT
from reflow.distill.averaging import TrainedWeightsEMA
from reflow.distill.finite import NonFiniteLossError
from reflow.distill.module import Distillation
from reflow.distill.optim import OptimizerSettings
from reflow.distill.student import make_student
from reflow.flow import EULER, EndpointTime, PaddingRule, UniformTime
from reflow.objectives import Consistency
from reflow.policies import load_policy
from tests.builders import drawn, make_batch, make_distillation

RULES = {
    "unfixed": ("real", "real", "real", False),
    "keep_target": ("real", "full", "real", False),
    "full_noise": ("full", "real", "real", False),
    "full32": ("full", "full", "full", False),
    "valid14": ("real", "real", "real", True),
}


def module_and_batch(
    folder: Path, rule: str = "full32", **kwargs: Any
) -> tuple[Distillation, dict[str, Any]]:
    teacher = load_policy(folder)
    padding = PaddingRule(teacher.space, *RULES[rule])
    student = make_student(teacher, folder, padding)
    module = make_distillation(
        teacher, student, padding, **{"solver": EULER, "time": UniformTime(), "draws": 2, "seed": 3} | kwargs
    )
    batch = make_batch(teacher, 3) | {SAMPLE: torch.tensor([5, 0, 9]), VISIT: torch.tensor([0, 1, 0])}
    return module, batch


@pytest.mark.parametrize("rule", RULES)
def test_the_loss_is_the_formula_written_out(teacher_folder: Path, rule: str) -> None:
    """Independent of flow/: slices and means written by hand, the teacher asked through stock sample_actions."""
    module, batch = module_and_batch(teacher_folder, rule)
    with torch.no_grad():
        loss = module.training_step(batch, 0)["loss"]

    noise_dims, target_dims, loss_dims, inert = RULES[rule]
    randn, t = drawn(module, batch, 2)
    a = module.rule.space.action_dim
    noise = randn.clone()
    if noise_dims == "real":
        noise[..., a:] = 0
    stock = module.teacher.policy
    images, masks = stock.prepare_images(batch)
    squares = []
    with torch.no_grad():
        for k in range(2):
            start = randn[:, k] if inert else noise[:, k]
            action = stock.model.sample_actions(
                images, masks, batch["observation.language.tokens"], batch["observation.language.attention_mask"],
                stock.prepare_state(batch), noise=start.clone(),
            ).clone()  # fmt: skip
            if target_dims == "real":
                action[..., a:] = 0
            # the student's own training forward returns the squared error elementwise, at native width
            errors = module.student.policy.model.forward(
                images, masks, batch["observation.language.tokens"], batch["observation.language.attention_mask"],
                stock.prepare_state(batch), action, noise[:, k], t[:, k],
            )  # fmt: skip
            squares.append(errors if loss_dims == "full" else errors[..., :a])
    torch.testing.assert_close(loss, torch.stack(squares).mean(), rtol=1e-5, atol=1e-7)


def test_rules_differ_only_where_they_say(teacher_folder: Path) -> None:
    losses = {}
    for rule in RULES:
        module, batch = module_and_batch(teacher_folder, rule)
        with torch.no_grad():
            losses[rule] = module.training_step(batch, 0)["loss"].item()
    # the target's padding cannot be seen by a loss on real dimensions, but x_t carries it into the student
    assert len({round(loss, 9) for loss in losses.values()}) == len(losses)


def test_randomness_is_a_function_of_identity(teacher_folder: Path) -> None:
    module, batch = module_and_batch(teacher_folder)
    randn, t = drawn(module, batch, 2)
    flipped = {key: value.flip(0) for key, value in batch.items()}
    again, t_again = drawn(module, flipped, 2)
    assert torch.equal(again.flip(0), randn)
    assert torch.equal(t_again.flip(0), t)
    other, _ = drawn(module, {**batch, VISIT: batch[VISIT] + 1}, 2)
    assert not torch.isclose(other, randn).any(dim=-1).any()


def test_the_teacher_stays_frozen_and_in_eval_mode(teacher_folder: Path) -> None:
    module, batch = module_and_batch(teacher_folder)
    before = {name: value.clone() for name, value in module.teacher.state_dict().items()}
    module.train()
    optimizer = torch.optim.AdamW(
        [p for p in module.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1
    )
    for _ in range(2):
        optimizer.zero_grad()
        module.training_step(batch, 0)["loss"].backward()
        assert not any(child.training for child in module.teacher.modules())
        optimizer.step()
    assert module.student.training
    assert all(torch.equal(value, before[name]) for name, value in module.teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in module.teacher.parameters())
    assert "teacher" not in {name.split(".")[0] for name in module.state_dict()}
    assert copy.deepcopy(module).teacher is module.teacher  # weight averaging copies the module


def test_with_valid14_padding_noise_never_reaches_the_student(teacher_folder: Path) -> None:
    module, batch = module_and_batch(teacher_folder, "valid14")
    optimizer = torch.optim.AdamW(module.student.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        module.training_step(batch, 0)["loss"].backward()
        optimizer.step()
    student, space = module.student.eval(), module.rule.space
    randn, _ = drawn(module, batch, 2)
    other = torch.cat([space.real(randn), 100 * space.padding(randn.flip(0))], dim=-1)
    with torch.no_grad():
        context = student.encode(batch)
        for steps in (1, 5):
            ends = [space.real(student.walk(context, noise, steps)) for noise in (randn, other)]
            assert torch.equal(*ends)


def test_a_trained_state_projection_gets_its_gradient(teacher_folder: Path) -> None:
    teacher = load_policy(teacher_folder)
    rule = PaddingRule(teacher.space)
    student = make_student(teacher, teacher_folder, rule, trained=("velocity", "state_proj"))
    module = make_distillation(teacher, student, rule, solver=EULER, time=EndpointTime(), draws=2)
    _, batch = module_and_batch(teacher_folder)
    module.training_step(batch, 0)["loss"].backward()
    gradient = student.policy.model.state_proj.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_non_finite_loss_stops_before_the_update(teacher_folder: Path) -> None:
    module, batch = module_and_batch(teacher_folder)
    with torch.no_grad():
        module.student.policy.model.action_in_proj.bias.fill_(float("nan"))
    module.training_step(batch, 0)
    with pytest.raises(
        NonFiniteLossError, match=r"loss is nan at step 0, samples \[5, 0, 9\].*stopped before"
    ):
        module.on_train_end()  # or any look before it


def test_draws_below_one_are_refused(teacher_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"objective\.draws is 0; allowed: 1 or more"):
        module_and_batch(teacher_folder, draws=0)


def test_more_steps_of_the_teacher_move_the_target(teacher_folder: Path) -> None:
    losses: list[Tensor] = []
    for steps in (None, 4, 16):
        module, batch = module_and_batch(teacher_folder, num_steps=steps)
        with torch.no_grad():
            losses.append(module.training_step(batch, 0)["loss"])
    assert losses[0] == losses[1]  # 4 is this teacher's own number
    assert losses[0] != losses[2]


def test_several_times_per_pair_are_the_mean_over_a_stratified_draw(teacher_folder: Path) -> None:
    module, batch = module_and_batch(teacher_folder, times=3)
    randn, t = drawn(module, batch, 2, times=3)
    assert t.shape == (3, 6)
    thirds = (t.view(3, 2, 3) * 3).ceil()  # uniform time: one from each third
    assert torch.equal(thirds, torch.tensor([1.0, 2.0, 3.0]).expand(3, 2, 3))
    with torch.no_grad():
        loss = module.training_step(batch, 0)["loss"]
        context, _ = module.encode(batch)
        action = module.teacher.walk(context, randn)
        by_hand = []
        for k in range(2):
            for j in range(3):
                time = t[:, 3 * k + j][:, None]
                x_t = time[..., None, None] * randn[:, [k]] + (1 - time[..., None, None]) * action[:, [k]]
                v_t = module.student.velocity(context, x_t, time)
                by_hand.append((v_t - (randn - action)[:, [k]]).square().mean())
    torch.testing.assert_close(loss, torch.stack(by_hand).mean(), rtol=1e-5, atol=1e-7)


class Watching(L.Callback):
    """Keeps one trained weight of the student after each step, and of its average as the step had it."""

    def __init__(self, name: str) -> None:
        self.name, self.weights, self.averages = name, list[Tensor](), list[Tensor]()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Distillation)
        assert pl_module.average is not None
        for policy, kept in ((pl_module.student, self.weights), (pl_module.average.policy, self.averages)):
            kept.append(dict(policy.named_parameters())[self.name].detach().clone())


def test_the_averaged_student_follows_a_step_behind(teacher_folder: Path) -> None:
    module, batch = module_and_batch(teacher_folder)
    module = Distillation(
        module.teacher,
        module.student,
        Consistency(decay=0.2),
        module.endpoints,
        module.rule,
        optimizer=OptimizerSettings(lr=1e-2, warmup_steps=0),
    )
    name = next(name for name, p in module.student.named_parameters() if p.requires_grad and p.ndim == 2)
    start = dict(module.student.named_parameters())[name].detach().clone()
    watching = Watching(name)
    L.Trainer(
        accelerator="cpu",
        max_steps=5,
        callbacks=[watching],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=teacher_folder,
    ).fit(module, DataLoader([batch] * 5, batch_size=None))
    expected = [start, watching.weights[0]]  # the first step's weights take the place of those it began with
    for steps, weight in enumerate(watching.weights[1:4], start=1):
        kept = min(0.2, (1 + steps) / (10 + steps))
        expected.append(torch.lerp(expected[-1], weight, 1 - kept))
    assert len(watching.averages) == 5
    torch.testing.assert_close(torch.stack(watching.averages), torch.stack(expected), rtol=1e-6, atol=0)
    assert all(not torch.equal(one, other) for one, other in itertools.pairwise(watching.averages))


def test_averaging_shares_what_is_frozen_and_keeps_ties(teacher_folder: Path) -> None:
    module, _ = module_and_batch(teacher_folder)
    vlm = module.student.policy.model.vlm_with_expert.vlm
    vlm.lm_head.weight = vlm.get_input_embeddings().weight  # tied, as in SmolVLM
    averaging = TrainedWeightsEMA(decay=0.9)
    averaging.setup(L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"), module, "fit")
    average = averaging._average_model.module
    pairs = list(zip(module.parameters(), average.parameters(), strict=True))
    assert all((a is b) == (not a.requires_grad) for a, b in pairs)
    assert any(a is b for a, b in pairs)
    with pytest.raises(ValueError, match=r"decay is 1\.0; allowed"):
        TrainedWeightsEMA(decay=1.0)
