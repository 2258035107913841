"""A student trained by low-rank additions: fewer parameters, the teacher untouched, an ordinary policy delivered."""

import json

import pytest
import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file

from reflow.distill.student import make_student
from reflow.errors import UserError
from reflow.flow import PaddingRule
from reflow.policies import PaddingInputs, load_policy


def student_of(teacher_folder, inert=False, **how):
    teacher = load_policy(teacher_folder).requires_grad_(False)
    rule = PaddingRule(teacher.space, "full", "full", "full", inert)
    return teacher, make_student(teacher, teacher_folder, rule, **how)


def trained(flow):
    return sum(parameter.numel() for parameter in flow.parameters() if parameter.requires_grad)


def test_large_layers_are_the_teacher_s_and_small_ones_are_trained_whole(teacher_folder):
    teacher, student = student_of(teacher_folder, lora=2)
    _, whole = student_of(teacher_folder)
    assert trained(student) < trained(whole) / 2
    theirs = {parameter.data_ptr() for parameter in teacher.parameters()}
    layer = student.policy.model.vlm_with_expert.lm_expert.layers[0].self_attn.q_proj
    assert layer.base_layer.weight.data_ptr() in theirs
    assert not layer.base_layer.weight.requires_grad
    assert student.policy.model.action_in_proj.weight.requires_grad
    assert student.policy.model.action_in_proj.weight.data_ptr() not in theirs


def test_padding_stays_silent(teacher_folder):
    _, student = student_of(teacher_folder, inert=True, lora=1)
    assert isinstance(student, PaddingInputs)
    assert type(student.policy.model.action_in_proj) is torch.nn.Linear
    assert not student.policy.model.action_in_proj.weight[:, 14:].any()


def test_the_prefix_may_learn_that_way_too(teacher_folder):
    _, student = student_of(teacher_folder, lora=1, trained=("velocity", "language"))
    names = [name for name, parameter in student.named_parameters() if parameter.requires_grad]
    assert any(".vlm." in name and "lora_A" in name for name in names)
    assert not any("embed_tokens" in name for name in names)


@pytest.mark.parametrize(
    ("rank", "message"), [(0, "student.lora=0; allowed: 1"), (512, "student.lora=512: no layer")]
)
def test_ranks_that_cannot_be_are_refused(teacher_folder, rank, message):
    with pytest.raises(UserError, match=message):
        student_of(teacher_folder, lora=rank)


def test_an_alpha_without_a_rank_is_refused(run):
    with pytest.raises(UserError, match=r"student.lora_alpha=8.0 without student.lora"):
        run("student.lora_alpha=8")


def test_the_command_delivers_an_ordinary_policy(run, teacher_folder, tmp_path):
    metrics = run("+fix=full32", "student.lora=2", "trainer.max_steps=9")
    folder = tmp_path / "run" / "pretrained_model"
    weights, theirs = load_file(folder / "model.safetensors"), load_file(teacher_folder / "model.safetensors")
    assert weights.keys() == theirs.keys()
    moved = [name for name in weights if not torch.equal(weights[name], theirs[name])]
    assert any("lm_expert.layers" in name for name in moved)
    assert not any(".vlm." in name for name in moved)
    assert json.loads((folder / "config.json").read_text())["use_peft"] is False
    assert SmolVLAPolicy.from_pretrained(folder).config.num_steps == 1
    assert metrics["student/endpoint_error@1"] > 0
