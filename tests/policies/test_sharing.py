"""Teacher and student in one memory: the same storage, and neither disturbs the other."""

import json
from pathlib import Path

import pytest
import torch

from reflow.policies import (
    FlowPolicy,
    encodes_with_gradient,
    load_policy,
    prefix_parameters,
    save_policy,
    share_frozen,
    shares_prefix,
    train_groups,
)
from tests.builders import make_batch, make_policy, make_vlm_folder


@pytest.fixture
def teacher(teacher_folder: Path) -> FlowPolicy:
    return load_policy(teacher_folder)


@pytest.fixture
def student(teacher_folder: Path) -> FlowPolicy:
    student = load_policy(teacher_folder)
    train_groups(student)
    return student


def storage(flow: FlowPolicy) -> dict[str, int]:
    return {name: parameter.data_ptr() for name, parameter in flow.named_parameters()}


def test_what_is_frozen_and_equal_exists_once(teacher, student):
    own = storage(student)
    assert not shares_prefix(teacher, student)
    saved = share_frozen(teacher, student)
    assert shares_prefix(teacher, student)
    theirs, now = storage(teacher), storage(student)
    prefix = {name for name, _ in prefix_parameters(student).items()}
    assert {name for name in now if now[name] == theirs[name]} == prefix
    assert {name: now[name] for name in now.keys() - prefix} == {
        name: own[name] for name in own.keys() - prefix
    }
    assert saved == sum(4 * parameter.numel() for _, parameter in prefix_parameters(teacher).items())
    assert share_frozen(teacher, student) == 0  # nothing is left to share


def test_sharing_thaws_nothing(teacher, student):
    """The teacher's own flags leave its prefix open; the student must not inherit that."""
    teacher.requires_grad_(True)
    share_frozen(teacher, student)
    assert not encodes_with_gradient(student)
    assert not any(parameter.requires_grad for _, parameter in prefix_parameters(teacher).items())


def test_what_differs_stays_the_student_s_own(teacher, student):
    with torch.no_grad():
        student.policy.model.state_proj.bias.add_(1.0)
    share_frozen(teacher, student)
    assert not shares_prefix(teacher, student)
    assert student.policy.model.state_proj.bias is not teacher.policy.model.state_proj.bias
    assert student.policy.model.state_proj.weight is teacher.policy.model.state_proj.weight


def test_a_trained_state_projection_is_the_student_s_own(teacher, student):
    train_groups(student, ("velocity", "state_proj"))
    share_frozen(teacher, student)
    assert not shares_prefix(teacher, student)
    assert encodes_with_gradient(student)
    assert student.policy.model.state_proj.weight is not teacher.policy.model.state_proj.weight
    assert not any(p is q for p in student.parameters() if p.requires_grad for q in teacher.parameters())


def test_a_training_student_leaves_the_teacher_in_eval_mode(teacher, student):
    share_frozen(teacher, student)
    student.train()
    assert student.training
    assert not any(module.training for module in teacher.modules())


def test_a_training_student_leaves_the_teacher_s_weights(teacher, student):
    share_frozen(teacher, student)
    kept = {name: parameter.clone() for name, parameter in teacher.named_parameters()}
    context = teacher.encode(make_batch(teacher))
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.1, weight_decay=0.1)
    space = student.space
    x_t = torch.randn(
        2, 1, space.chunk_size, space.max_action_dim, generator=torch.Generator().manual_seed(0)
    )
    student.velocity(context, x_t, torch.full((2, 1), 0.5)).square().mean().backward()
    optimizer.step()
    assert not torch.equal(
        student.policy.model.action_in_proj.weight, teacher.policy.model.action_in_proj.weight
    )
    for name, parameter in teacher.named_parameters():
        assert torch.equal(parameter, kept[name]), name


def test_tied_words_stay_tied(teacher_folder, tmp_path):
    """A VLM whose output head is its input embedding: one tensor of two names, saved under one of them."""
    vlm = make_vlm_folder(tmp_path / "smolvlm")
    config = json.loads((vlm / "config.json").read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True
    (vlm / "config.json").write_text(json.dumps(config))
    tied = make_policy(vlm, train_expert_only=True, freeze_vision_encoder=True)
    folder = save_policy(tied, teacher_folder, tmp_path / "tied")
    teacher, student = load_policy(folder), load_policy(folder)
    train_groups(student)
    share_frozen(teacher, student)
    head, words = (
        "policy.model.vlm_with_expert.vlm.lm_head.weight",
        "policy.model.vlm_with_expert.vlm.model.text_model.embed_tokens.weight",
    )
    assert student.get_parameter(head) is student.get_parameter(words) is teacher.get_parameter(words)
    load_policy(save_policy(student, folder, tmp_path / "student"))
