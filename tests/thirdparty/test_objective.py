"""An objective that this package does not know, in one file of somebody else's: distilled by the command."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reflow.data import SAMPLE, VISIT
from reflow.distill.module import Distillation
from reflow.distill.student import make_student
from reflow.endpoints.source import LiveEndpoints
from reflow.flow import EULER, PaddingRule
from reflow.policies import load_policy
from tests.builders import make_batch, make_teacher_folder, repo_id
from tests.distill.conftest import SMALL
from tests.rounding import apart, of_velocity
from tests.thirdparty.halving import Halving
from tests.thirdparty.test_policy import command


@pytest.fixture(scope="module")
def smolvla(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("smolvla") / "pretrained_model", num_steps=4)


def make_module(folder: Path) -> Distillation:
    teacher = load_policy(folder)
    rule = PaddingRule(teacher.space, "full", "full", "full")
    student = make_student(teacher, folder, rule)
    return Distillation(
        teacher, student, Halving(), LiveEndpoints(teacher, EULER, teacher.num_steps, rule), rule
    )


def train_briefly(module: Distillation, steps: int = 3) -> None:
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-2)
    batch = make_batch(module.teacher, 3) | {SAMPLE: torch.tensor([5, 0, 9]), VISIT: torch.tensor([0, 1, 0])}
    for step in range(steps):
        optimizer.zero_grad()
        outputs = module.training_step(batch, step)
        outputs["loss"].backward()
        optimizer.step()
        if module.average is not None:
            module.average.update(module.student)


def test_its_parameter_is_trained_averaged_and_folded_into_stock_weights(smolvla: Path) -> None:
    module = make_module(smolvla)
    train_briefly(module)
    student, average = module.student, module.average.policy
    assert student.size.abs().min() > 0  # trained
    assert average.size.abs().min() > 0  # averaged with the student,
    assert not torch.equal(average.size, student.size)  # and behind it
    batch, space = make_batch(student, 2, seed=1), student.space
    noise = torch.randn(2, 1, space.chunk_size, space.max_action_dim)
    with torch.no_grad():
        context, t = student.encode(batch), torch.ones(2, 1)
        unfolded = student.velocity(context, noise, t)
        without = student.size.clone()
        student.size.zero_()
        assert apart(student.velocity(context, noise, t), unfolded) > 1e-3  # it does something
        student.size.copy_(without)
        module.objective.fold(student)
        folded = student.velocity(context, noise, t)
    assert not student.size.any()
    assert apart(folded, unfolded) < of_velocity(student, context.pad_masks.shape[1])


def test_an_average_goes_on_where_a_checkpoint_left_it(smolvla: Path) -> None:
    one, other = make_module(smolvla), make_module(smolvla)
    train_briefly(one)
    checkpoint: dict[str, object] = {"state_dict": one.state_dict()}
    one.on_save_checkpoint(checkpoint)
    trained = {name for name, parameter in one.student.named_parameters() if parameter.requires_grad}
    assert checkpoint["averaged_student"]["weights"].keys() == trained  # not the frozen rest
    kept = {name: value.clone() for name, value in one.average.policy.named_parameters()}
    other.load_state_dict(checkpoint["state_dict"])
    other.on_load_checkpoint(checkpoint)
    assert all(torch.equal(value, kept[name]) for name, value in other.average.policy.named_parameters())
    train_briefly(one, 1)
    train_briefly(other, 1)
    ours, theirs = one.average.policy.state_dict(), other.average.policy.state_dict()
    assert one.average.steps == other.average.steps == 4
    assert all(torch.isfinite(value).all() for value in ours.values())
    assert ours.keys() == theirs.keys()


@pytest.mark.slow
def test_the_command_distills_with_it(
    smolvla: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLOW_TRUST", "tests.thirdparty")
    group = tmp_path / "mine" / "objective"
    group.mkdir(parents=True)
    (group / "halving.yaml").write_text("_target_: tests.thirdparty.halving.Halving\ndraws: 2\n")
    run = tmp_path / "run"
    done = command(
        "train",
        tmp_path,
        f"hydra.searchpath=[file://{tmp_path / 'mine'}]",
        "objective=halving",
        "+fix=full32",
        f"teacher.path={smolvla}",
        f"data.repo_id={repo_id(dataset)}",
        f"data.root={dataset}",
        *SMALL,
        f"run_dir={run}",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "metrics.json").read_text())["train/loss"] > 0
    weights = load_file(run / "pretrained_model" / "model.safetensors")
    assert weights.keys() == load_file(smolvla / "model.safetensors").keys()  # stock LeRobot's, and no more
