"""Each objective's loss, written out by hand, on a real small SmolVLA; and what it needs and costs."""

import json
import shutil
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from reflow.config_path import CONFIG_DIR
from reflow.data import SAMPLE, VISIT
from reflow.distill.module import Distillation
from reflow.distill.student import make_student
from reflow.endpoints.source import LiveEndpoints, StoredEndpoints
from reflow.flow import EULER, EndpointTime, PaddingRule, UniformTime
from reflow.objectives import Cost, Endpoint, FlowMatching, Objective, Reflow
from reflow.policies import load_policy
from tests.builders import make_batch

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
    space = module.rule.space
    generator = torch.Generator().manual_seed(1)
    action = torch.randn(3, space.chunk_size, space.action_dim, generator=generator)
    is_pad = torch.zeros(3, space.chunk_size, dtype=torch.bool)
    is_pad[1, -3:] = True
    batch |= {"action": action, "action_is_pad": is_pad}
    step = module.step(batch)
    noise, t = step.noise(1)[:, 0], step.times(module.objective.time, 1)[:, 0]
    with torch.no_grad():
        loss = module.objective(step).value
        own = {key: batch[key].clone() for key in ("action", "observation.state")}  # stock writes into them
        expected, _ = module.student.policy.forward({**batch, **own}, noise.clone(), t)
    torch.testing.assert_close(loss, expected, **TOLERANCE)


def test_flow_matching_asks_no_teacher(teacher_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, batch = module_and_batch(teacher_folder, FlowMatching(UniformTime()))
    space = module.rule.space
    batch |= {
        "action": torch.zeros(3, space.chunk_size, space.action_dim),
        "action_is_pad": torch.zeros(3, space.chunk_size, dtype=torch.bool),
    }
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


@pytest.mark.parametrize(
    ("objective", "cost"),
    [
        (Reflow(UniformTime(), times=3), Cost(10, 3, 3)),
        (Endpoint(), Cost(10, 1, 1)),
        (FlowMatching(UniformTime(), times=2), Cost(0, 2, 2)),
    ],
)
def test_what_a_pair_costs_is_what_is_called(teacher_folder: Path, objective: Objective, cost: Cost) -> None:
    assert objective.cost(10) == cost
    module, batch = module_and_batch(teacher_folder, objective)
    space = module.rule.space
    batch |= {
        "action": torch.zeros(3, space.chunk_size, space.action_dim),
        "action_is_pad": torch.zeros(3, space.chunk_size, dtype=torch.bool),
    }
    calls = 0

    def count(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal calls
        calls += len(inputs[0])

    module.student.policy.model.action_in_proj.register_forward_pre_hook(count)
    module.objective(module.step(batch))
    assert calls == 3 * objective.draws * cost.student_calls


@pytest.mark.parametrize("name", ["reflow", "endpoint", "flow_matching"])
def test_every_objective_file_builds_its_class(name: str) -> None:
    config = OmegaConf.load(Path(CONFIG_DIR, "objective", f"{name}.yaml"))
    time = OmegaConf.create({"_target_": "reflow.flow.UniformTime"})
    whole = OmegaConf.create({"objective": config, "time": time, "student": {"num_steps": 2}})
    objective = hydra.utils.instantiate(whole.objective)
    assert isinstance(objective, Objective)
    assert objective.draws == 2
    assert type(objective).__name__.lower() == name.replace("_", "")


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"objective\.draws is 0; allowed: 1 or more"):
        Endpoint(draws=0)
    with pytest.raises(ValueError, match=r"objective\.times is 0; allowed: 1 or more"):
        Reflow(UniformTime(), times=0)
    with pytest.raises(
        ValueError, match=r"objective\.draw_pool=1 with objective\.draws=2; allowed: 2 or more"
    ):
        FlowMatching(UniformTime(), draws=2, draw_pool=1)


def test_the_loss_is_a_mean_over_real_time_steps_alone() -> None:
    from reflow.objectives.flow_matching import inside_mean

    error = torch.tensor([[[[1.0], [5.0]]]])
    assert inside_mean(error, torch.tensor([[[[True], [False]]]])) == 1.0
    assert F.mse_loss(error, torch.zeros_like(error)) != 1.0
