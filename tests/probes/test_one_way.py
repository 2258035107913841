"""Training, ``reflow.evaluate`` and the doctor measure alike: same name, same value, other noise at other visits."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from reflow.config_path import CONFIG_DIR
from reflow.data import SAMPLE, VISIT, LeRobotDataModule
from reflow.data.robot import robot_of
from reflow.distill.callbacks import Measure, with_probes
from reflow.doctor import Plan, Question
from reflow.doctor.examine import measure_all
from reflow.evaluation.offline import OfflineSettings, evaluate_offline
from reflow.flow import EULER, Draws, PaddingRule, UniformTime
from reflow.policies import FlowPolicy, load_policy, load_processors
from reflow.probes import EndpointErrors, Observations, measure
from reflow.speed.race import endpoint_error, held_out_chunks
from tests.builders import make_dataset, make_distillation, make_teacher_folder, repo_id

SEED, DRAWS, NFE, REFERENCE, POINTS = 3, 2, (1, 2, 4), 6, 10
SHARED = (
    *(f"{who}/endpoint_error@{n}" for who in ("teacher", "student") for n in NFE),
    "teacher/solver_error",
    "velocity/relative_error",
    "deploy/loss",
    *(f"straightness/{part}" for part in ("all", "real", "padding")),
    *(f"padding/teacher/repadding_{statistic}" for statistic in ("max", "mean")),
    *(f"padding/{who}/sensitivity{how}" for who in ("teacher", "student") for how in ("", "_zeroed")),
    *(f"{part}/{who}/{what}_abs_mean"
      for part in ("real", "padding") for who in ("teacher", "student") for what in ("endpoint", "velocity")),
)  # fmt: skip
Batches = list[dict[str, Any]]


@pytest.fixture(scope="module")
def teacher(folder: Path) -> FlowPolicy:
    return load_policy(folder).requires_grad_(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model", num_steps=4)


@pytest.fixture(scope="module")
def student(folder: Path) -> FlowPolicy:
    """Of two steps, so that the times at which it is asked are neither one nor all."""
    student = load_policy(folder)
    student.num_steps = 2
    with torch.no_grad():
        student.policy.model.action_out_proj.bias.add_(0.2)
    return student.requires_grad_(False)


@pytest.fixture(scope="module")
def data(folder: Path, teacher: FlowPolicy, tmp_path_factory: pytest.TempPathFactory) -> LeRobotDataModule:
    root = make_dataset(tmp_path_factory.mktemp("data") / "set")
    preprocess, _ = load_processors(folder, teacher)
    return LeRobotDataModule(
        teacher.config,
        preprocess,
        repo_id=repo_id(root),
        root=root,
        batch_size=3,
        num_workers=0,
        val_frames=4,
    )


def of_training(teacher: FlowPolicy, student: FlowPolicy, batches: Batches) -> dict[str, float]:
    """As ``conf/callbacks`` composes it, in the final measurement; the student was trained at uniform times."""
    entries = OmegaConf.load(Path(CONFIG_DIR, "callbacks", "default.yaml"))
    entries = OmegaConf.masked_copy(entries, ["measure", "deploy", "endpoints", "padding", "straightness"])
    entries.endpoints.update(nfe=list(NFE), own=student.num_steps, reference_steps=REFERENCE)
    callbacks = with_probes({str(name): instantiate(entry) for name, entry in entries.items()})
    rule = PaddingRule(teacher.space, "full", "full", "full")
    module = make_distillation(
        teacher, student, rule, time=UniformTime(), val_draws=DRAWS, seed=SEED, draws=1
    )
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=list(callbacks.values()),
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.validate(module, DataLoader(batches, batch_size=None), verbose=False)
    (callback,) = callbacks.values()
    assert isinstance(callback, Measure)
    for name, value in trainer.callback_metrics.items():  # logged in float32
        assert value.item() == pytest.approx(
            callback.found.metrics[name], rel=torch.finfo(torch.float32).eps / 2
        )
    return callback.found.metrics


def of_the_doctor(teacher: FlowPolicy, student: FlowPolicy, batches: Batches) -> dict[str, float]:
    plan = Plan(max_steps=1, batch_size=1, draws=1, times=1, num_steps=4, solver=EULER)
    observed = observations(teacher, student).see_all(batches)
    return measure_all(observed, Question(plan, reference_steps=REFERENCE, nfe=NFE)).metrics


def of_evaluate(
    folder: Path, data: LeRobotDataModule, monkeypatch: pytest.MonkeyPatch
) -> Callable[[FlowPolicy, FlowPolicy, Batches], dict[str, float]]:
    def start(teacher: FlowPolicy, student: FlowPolicy, batches: Batches) -> dict[str, float]:
        _, postprocess = load_processors(folder, teacher)
        by = Observations(
            {"teacher": teacher, "student": student},
            Draws(SEED),
            DRAWS,
            postprocess={"teacher": postprocess, "student": postprocess},
        )
        settings = OfflineSettings(
            nfe=NFE,
            reference_steps=REFERENCE,
            val_draws=DRAWS,
            straightness_steps=POINTS,
            distribution_frames=1,
            fan_noises=2,
            latency_chunks=0,
        )
        monkeypatch.setattr(data, "val_dataloader", lambda: batches)
        return evaluate_offline(by, data, robot_of(data.meta), settings, show=False).metrics

    return start


def observations(teacher: FlowPolicy, student: FlowPolicy) -> Observations:
    return Observations({"teacher": teacher, "student": student}, Draws(SEED), DRAWS)


@pytest.fixture
def users(folder: Path, data: LeRobotDataModule, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    evaluate = of_evaluate(folder, data, monkeypatch)
    return {"training": of_training, "evaluate": evaluate, "doctor": of_the_doctor}


@pytest.fixture(scope="module")
def batches(data: LeRobotDataModule) -> Batches:
    return list(data.val_dataloader())


def again(batches: Batches, visit: int) -> Batches:
    return [batch | {VISIT: torch.full_like(batch[VISIT], visit)} for batch in batches]


def test_a_figure_of_one_name_is_one_value(
    users: dict[str, Any], teacher: FlowPolicy, student: FlowPolicy, batches: Batches
) -> None:
    assert [len(batch[SAMPLE]) for batch in batches] == [3, 1]
    found = {name: user(teacher, student, batches) for name, user in users.items()}
    for name in SHARED:
        # The same operations on the same shapes: the same bits.
        assert found["training"][name] == found["evaluate"][name] == found["doctor"][name] != 0 or (
            name == "teacher/endpoint_error@4"  # the teacher's own steps
        ), name
    # And so whatever else two of them have in common.
    for one, other in (("training", "evaluate"), ("training", "doctor"), ("evaluate", "doctor")):
        common = found[one].keys() & found[other].keys()
        assert common >= set(SHARED)
        assert {name: found[one][name] for name in common} == {name: found[other][name] for name in common}


def test_two_visits_of_one_frame_get_different_noise(
    users: dict[str, Any], teacher: FlowPolicy, student: FlowPolicy, batches: Batches
) -> None:
    first, second = batches[:1], again(batches[:1], 1)
    for name, user in users.items():
        before, after = user(teacher, student, first), user(teacher, student, second)
        for figure in SHARED:
            assert before[figure] != after[figure] or figure == "teacher/endpoint_error@4", (name, figure)


def test_the_race_measures_likewise(teacher: FlowPolicy, student: FlowPolicy, batches: Batches) -> None:
    errors = []
    for visit in (0, 1):
        held_out = again(batches, visit)
        data: Any = SimpleNamespace(val_dataloader=lambda held_out=held_out: held_out)
        error = endpoint_error(student, held_out_chunks(teacher, data, 4, DRAWS, SEED))
        by = observations(teacher, student)
        expected = measure(by, by.see_all(held_out), [EndpointErrors((1,), REFERENCE)])
        # Vision features kept from before are those that encoding computes: the same bits.
        assert error == expected.metrics["student/endpoint_error@1"]
        errors.append(error)
    assert errors[0] != errors[1]
