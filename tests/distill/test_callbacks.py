"""What the callbacks log, against the definitions written out by hand on the same held-out frames."""

import copy
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from reflow.data import SAMPLE, LeRobotDataModule
from reflow.distill.callbacks import Measure, Throughput, with_probes
from reflow.distill.module import Distillation
from reflow.distill.student import make_student
from reflow.flow import EULER, Draws, PaddingRule, UniformTime
from reflow.policies import FlowPolicy, load_policy, load_processors
from reflow.probes import EndpointErrors, PaddingAsDeployed, StraightnessOfFlows, VelocityErrors
from reflow.probes.observations import HELD_OUT
from tests.builders import make_distillation, repo_id


@pytest.fixture(scope="module")
def setting(teacher_folder: Path, dataset: Path) -> tuple[Distillation, LeRobotDataModule]:
    teacher = load_policy(teacher_folder)
    rule = PaddingRule(teacher.space, "real", "full", "full")
    student = make_student(teacher, teacher_folder, rule)
    with torch.no_grad():  # a student that differs from its teacher
        student.policy.model.action_in_proj.weight.mul_(1.1)
    module = make_distillation(
        teacher, student, rule, solver=EULER, time=UniformTime(), draws=3, val_draws=2, seed=1
    )
    preprocess, _ = load_processors(teacher_folder, teacher)
    data = LeRobotDataModule(
        teacher.config,
        preprocess,
        repo_id=repo_id(dataset),
        root=dataset,
        batch_size=5,
        num_workers=0,
        val_frames=12,
    )
    return module, data


@pytest.fixture(scope="module")
def measured(
    setting: tuple[Distillation, LeRobotDataModule], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    module, data = setting
    probes = VelocityErrors(), EndpointErrors((1, 4), 20), PaddingAsDeployed(), StraightnessOfFlows(5)
    measure = Measure(probes, window=3)
    measure.losses["train/loss"].extend(torch.tensor([9.0, 1.0, 2.0, 3.0]))  # the window keeps the last three
    measure.losses["train/loss_real"].extend(torch.tensor([9.0, 4.0, 4.0, 4.0]))
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=[measure, Throughput()],
        logger=L.pytorch.loggers.TensorBoardLogger(tmp_path_factory.mktemp("log"), name="", version=""),
        enable_progress_bar=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.validate(module, data, verbose=False)
    figures = {name: value.item() for name, value in trainer.callback_metrics.items()}
    return {"figures": figures, "arrays": measure.found.arrays, "log": trainer.logger.log_dir}


@pytest.fixture(scope="module")
def by_hand(setting: tuple[Distillation, LeRobotDataModule]) -> dict[str, Tensor]:
    """Every held-out chunk, one (observation, noise) at a time through stock calls."""
    module, data = setting
    rows: dict[str, list[Tensor]] = {}
    a = 14
    with torch.no_grad():
        for batch in data.val_dataloader():
            sample, shape = batch[SAMPLE], (8, 32)
            randn = Draws(1).noise(sample, HELD_OUT + torch.arange(2).expand(len(sample), 2), shape)
            redrawn = Draws(1).noise(
                sample, 2 * HELD_OUT + torch.zeros(len(sample), 1, dtype=torch.int64), shape
            )
            mixed, zeroed = randn[:, :1].clone(), randn[:, :1].clone()  # one noise per observation for these
            mixed[..., a:], zeroed[..., a:] = redrawn[..., a:], 0
            teacher, student = module.teacher, module.student
            context = teacher.encode(batch)
            found = {"end": teacher.walk(context, randn, 4), "student@1": student.walk(context, randn, 1)}
            found |= {
                "teacher@1": teacher.walk(context, randn, 1),
                "teacher@20": teacher.walk(context, randn, 20),
            }
            found |= {"mixed": teacher.walk(context, mixed, 4), "zeroed": teacher.walk(context, zeroed, 4)}
            t = (
                Draws(1)
                .uniform(sample, HELD_OUT + torch.arange(2).expand(len(sample), 2))
                .clamp(min=2.0**-25)
            )
            time = t[..., None, None]
            found["v_trained"] = student.velocity(context, time * randn + (1 - time) * found["end"], t)
            # As a one-step student is deployed, though this one is trained at other times too.
            found["v"] = student.velocity(context, randn, torch.ones(randn.shape[:2]))
            found["u"] = randn - found["end"]
            for name, value in found.items():
                rows.setdefault(name, []).append(value.flatten(0, 1).double())
    return {name: torch.cat(parts) for name, parts in rows.items()}


def relative(value: Tensor, reference: Tensor) -> float:
    difference = (value - reference)[..., :14].flatten(1).norm(dim=1)
    return (difference / reference[..., :14].flatten(1).norm(dim=1)).mean().item()


def test_deploy_figures(measured: dict[str, Any], by_hand: dict[str, Tensor]) -> None:
    figures, v, u = measured["figures"], by_hand["v"], by_hand["u"]
    loss = (v - u)[..., :14].square().mean().item()
    assert figures["deploy/loss"] == pytest.approx(loss, rel=1e-5)
    assert figures["train/loss"] == pytest.approx(2.0)
    assert figures["velocity/relative_error"] == pytest.approx(relative(v, u), rel=1e-5)
    trained = (by_hand["v_trained"] - u)[..., :14].square().mean().item()
    assert figures["deploy/loss_at_trained_times"] == pytest.approx(trained, rel=1e-5)
    assert figures["deploy/gap_reported"] == pytest.approx(trained / 2.0, rel=1e-5)
    assert figures["deploy/gap"] == pytest.approx(trained / 4.0, rel=1e-5)
    assert measured["arrays"]["velocity_error/student"].shape == (10, 32)


def test_endpoint_errors_and_floors(measured: dict[str, Any], by_hand: dict[str, Tensor]) -> None:
    figures, end = measured["figures"], by_hand["end"]
    assert figures["student/endpoint_error@1"] == pytest.approx(relative(by_hand["student@1"], end), rel=1e-5)
    assert figures["teacher/endpoint_error@1"] == pytest.approx(relative(by_hand["teacher@1"], end), rel=1e-5)
    assert figures["teacher/endpoint_error@4"] == 0.0
    first = slice(None, None, 2)  # one noise per observation for the reference
    expected = relative(end[first], by_hand["teacher@20"][first])
    assert figures["teacher/solver_error"] == pytest.approx(expected, rel=1e-5)


def test_padding_statistics(measured: dict[str, Any], by_hand: dict[str, Tensor]) -> None:
    figures, end = measured["figures"], by_hand["end"]
    padding, real = end[..., 14:], end[..., :14]
    for part, values in (("padding", padding), ("real", real)):
        for statistic, expected in (
            ("mean", values.mean()), ("std", values.std(correction=0)),
            ("abs_mean", values.abs().mean()), ("abs_max", values.abs().max()),
        ):  # fmt: skip
            assert figures[f"{part}/teacher/endpoint_{statistic}"] == pytest.approx(expected.item(), rel=1e-4)
    assert figures["padding/teacher/repadding_max"] == pytest.approx(padding.abs().max().item(), rel=1e-5)
    assert figures["padding/teacher/repadding_mean"] == pytest.approx(
        padding.abs().sum().item() / end.numel(), rel=1e-4
    )
    assert figures["padding/teacher/sensitivity"] == pytest.approx(
        relative(by_hand["mixed"], end[::2]), rel=1e-5
    )
    assert figures["padding/teacher/sensitivity_zeroed"] == pytest.approx(
        relative(by_hand["zeroed"], end[::2]), rel=1e-5
    )
    assert figures["padding/training/noise_abs_max"] == 0.0  # this rule's noise is real only
    assert figures["padding/student/sensitivity"] > 0
    student = by_hand["student@1"][..., 14:]  # at the steps it is meant for
    assert figures["padding/student/endpoint_abs_mean"] == pytest.approx(
        student.abs().mean().item(), rel=1e-4
    )


def test_histograms_reach_tensorboard(measured: dict[str, Any]) -> None:
    events = EventAccumulator(measured["log"]).Reload()
    assert {"padding/teacher/endpoint", "real/student/velocity"} <= set(events.Tags()["histograms"])


def test_the_module_logs_its_own_loss(
    setting: tuple[Distillation, LeRobotDataModule], tmp_path: Path
) -> None:
    module, data = setting
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=1,
        limit_val_batches=0,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(copy.deepcopy(module), data)  # no callback of ours
    assert trainer.callback_metrics["train/loss"] > 0
    assert trainer.callback_metrics["train/loss_real"] > 0


def test_what_never_changes_is_measured_once(
    setting: tuple[Distillation, LeRobotDataModule], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, data = setting
    walked: list[int | None] = []  # by whoever walks; the student takes one step
    walk = FlowPolicy.walk

    def counting(self: FlowPolicy, context: Any, noise: Tensor, num_steps: int | None = None) -> Tensor:
        walked.append(num_steps)
        return walk(self, context, noise, num_steps)

    measure = Measure([EndpointErrors((1,), 5), VelocityErrors()], window=1)
    monkeypatch.setattr(FlowPolicy, "walk", counting)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=3,
        val_check_interval=1,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        callbacks=[measure],
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(copy.deepcopy(module), data)
    assert walked == [4, 1, 4, 4, 1, 4, 1]  # in training, student, held out; then no more of the last
    figures = {"student/endpoint_error@1", "velocity/relative_error", "deploy/loss"}
    assert set(measure.found.metrics) == figures | {"deploy/loss_at_trained_times"}  # it trains at all times
    assert measure.found.arrays == {}
    gap = measure.found.metrics["deploy/loss_at_trained_times"] / measure.losses["train/loss_real"][-1].item()
    assert trainer.callback_metrics["deploy/gap"].item() == pytest.approx(gap, rel=1e-6)
    trainer.validate(module, data, verbose=False)
    assert {"teacher/endpoint_error@1", "teacher/solver_error"} <= measure.found.metrics.keys()
    assert "velocity_error/student" in measure.found.arrays


def test_probes_among_the_callbacks_go_to_the_one_that_measures() -> None:
    probe, measure, other = StraightnessOfFlows(), Measure(), Throughput()
    assert with_probes({"a": probe, "b": measure, "c": other}) == {"b": measure, "c": other}
    assert measure.probes == [probe]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Measure(window=0), "window is 0; allowed: 1 or more"),
        (lambda: VelocityErrors(time_bins=0), "time_bins is 0; allowed: 1 or more"),
        (lambda: EndpointErrors(nfe=()), r"nfe is \[\]; allowed: one or more"),
        (lambda: EndpointErrors(nfe=(0, 1)), r"nfe is \[0, 1\]; allowed"),
    ],
)
def test_impossible_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
