"""Padding of fields that are known: what is measured, and what is decided from it."""

import pytest
import torch
from torch import Tensor

from reflow.doctor import measure_padding, padding_figures, padding_regime, recommend_fix
from reflow.doctor.padding import padding_check
from reflow.doctor.regime import regime_findings
from reflow.flow import ActionSpace, PaddingRule
from tests.doctor.conftest import SPACE, FieldPolicy, looks, straight

ACTION = torch.tensor([0.5, -1.0, 2.0])


def supervised(x_t: Tensor, t: Tensor) -> Tensor:
    return x_t / t


def still(x_t: Tensor, t: Tensor) -> Tensor:
    return torch.zeros_like(x_t)


def test_a_perfectly_supervised_teacher() -> None:
    teacher = FieldPolicy(straight(ACTION, supervised))
    figures = padding_figures(teacher, looks(teacher))
    assert figures["deployed/padding_abs_max"] == pytest.approx(0, abs=1e-6)
    assert figures["zeroed/padding_abs_max"] == 0
    assert figures["deployed/real_mean"] == pytest.approx(0.5, abs=1e-6)
    assert all(figures[f"velocity_error@{t:g}"] == pytest.approx(0, abs=1e-6) for t in (1, 0.75, 0.5, 0.25))
    assert figures["sensitivity"] == figures["sensitivity_zeroed"] == 0
    assert padding_regime(figures) == "supervised"


def test_a_teacher_that_leaves_padding_where_it_is() -> None:
    teacher = FieldPolicy(straight(ACTION, still))
    figures = padding_figures(teacher, looks(teacher))
    assert figures["endpoint_to_noise"] == pytest.approx(1)
    assert figures["velocity_error@1"] == pytest.approx(1)
    assert figures["zeroed/padding_abs_max"] == 0
    assert figures["deployed/repadding_padding_max"] == figures["deployed/padding_abs_max"]
    share = figures["deployed/repadding_padding_mean"] * SPACE.padding_dim / SPACE.max_action_dim
    assert figures["deployed/repadding_all_mean"] == pytest.approx(share)
    assert figures["deployed/repadding_real_max"] == 0
    assert padding_regime(figures) == "unsupervised"


def test_sensitivity_is_what_padding_does_to_real_dimensions() -> None:
    def field(x_t: Tensor, t: Tensor) -> Tensor:
        leak = SPACE.padding(x_t).mean(-1, keepdim=True).expand(*x_t.shape[:-1], SPACE.action_dim)
        return torch.cat([(SPACE.real(x_t) - ACTION) / t + leak, still(SPACE.padding(x_t), t)], dim=-1)

    teacher = FieldPolicy(field, num_steps=1)
    seen = looks(teacher)
    figures = padding_figures(teacher, seen)
    moved = []
    for one in seen:
        leak = SPACE.padding(one.noise).mean(-1).double()  # one step: the endpoint is off by it
        size = one.endpoint[..., :3].double().flatten(2).norm(dim=2)
        moved.append(leak[..., None].expand(*leak.shape, 3).flatten(2).norm(dim=2) / size)
    assert figures["sensitivity_zeroed"] == pytest.approx(torch.cat(moved).mean().item(), rel=1e-5)
    assert figures["sensitivity"] > figures["sensitivity_zeroed"]


def test_no_padding_leaves_the_question_out() -> None:
    teacher = FieldPolicy(lambda x_t, t: x_t / t, space=ActionSpace(5, 5, 4))
    check = padding_check(teacher, looks(teacher), num_steps=1)
    assert padding_regime(check.figures) == "no padding"
    assert not any(name.startswith("zeroed/") for name in check.figures)
    assert recommend_fix("no padding", check.figures, 1).fix is None
    assert [finding.severity for finding in check.findings] == ["ok"]


def test_batches_alone_are_enough() -> None:
    teacher = FieldPolicy(straight(ACTION, still))
    batches = [{"sample": torch.arange(3), "observation.state": torch.zeros(3, 2)}]
    assert measure_padding(teacher, batches, draws=2)["endpoint_to_noise"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("endpoint", "velocity", "regime"),
    [
        (0.01, 0.05, "supervised"),
        (0.01, 0.5, "unclear"),
        (0.2, 0.05, "unclear"),
        (0.01, 0.9, "unsupervised"),
        (0.5, 0.05, "unsupervised"),
        (1.1, 1.2, "unsupervised"),
    ],
)
def test_the_regime_has_a_grey_zone(endpoint: float, velocity: float, regime: str) -> None:
    figures = {"endpoint_to_noise": endpoint, "velocity_error@1": velocity, "velocity_error@0.5": velocity}
    assert padding_regime(figures) == regime


FIGURES = {
    "endpoint_to_noise": 1.1,
    "velocity_error@1": 1.0,
    "sensitivity": 0.01,
    "sensitivity_zeroed": 0.2,
    "deployed/repadding_padding_mean": 0.9,
    "deployed/repadding_all_mean": 0.5,
    "deployed/padding_abs_mean": 0.9,
    "deployed/padding_abs_max": 5.0,
}


def test_the_reason_depends_on_the_student_s_steps() -> None:
    one, four = (recommend_fix("unsupervised", FIGURES, steps) for steps in (1, 4))
    assert (one.fix, four.fix) == ("[full_noise,keep_target]", "full32")
    assert "ever comes back as its input" in one.reason
    assert "a student of 4 steps meets" in four.reason
    assert "wrong there by 0.9" in four.reason


@pytest.mark.parametrize(
    ("rule", "steps", "severity", "problems"),
    [
        (PaddingRule(SPACE, "full", "full", "full"), 4, "ok", ""),
        (PaddingRule(SPACE, "full", "real", "real"), 1, "ok", ""),
        (PaddingRule(SPACE, "full", "real", "full"), 4, "warning", "problem 1"),
        (PaddingRule(SPACE, "full", "full", "real"), 4, "warning", "problem 2"),
        (PaddingRule(SPACE, "real", "full", "full"), 1, "warning", "problem 3"),
    ],
)
def test_the_rule_asked_about_is_judged(rule: PaddingRule, steps: int, severity: str, problems: str) -> None:
    found = {finding.name: finding for finding in regime_findings(FIGURES, steps, rule)}
    assert found["padding_rule"].severity == severity
    assert problems in found["padding_rule"].what
    fix = recommend_fix("unsupervised", FIGURES, steps).fix
    assert found["padding_rule"].what_to_do == (f"+fix={fix}" if severity == "warning" else None)


def test_without_a_rule_the_advice_is_a_note() -> None:
    found = {finding.name: finding for finding in regime_findings(FIGURES, 1, None)}
    assert "padding_rule" not in found
    assert found["padding_regime"].severity == "note"
    assert found["padding_regime"].what_to_do == "+fix=[full_noise,keep_target]"
    assert found["padding_sensitivity"].severity == "ok"
    much = {finding.name: finding for finding in regime_findings({**FIGURES, "sensitivity": 0.3}, 1, None)}
    assert much["padding_sensitivity"].what_to_do == "+fix=valid14"


def test_an_inert_padding_is_never_wrong() -> None:
    rule = PaddingRule(SPACE, inert=True)
    assert "padding_rule" not in {finding.name for finding in regime_findings(FIGURES, 4, rule)}


def test_errors() -> None:
    teacher = FieldPolicy(straight(ACTION, still))
    with pytest.raises(ValueError, match="there is no held-out observation; choose held-out episodes"):
        measure_padding(teacher, [])
    with pytest.raises(ValueError, match="draws is 0; allowed: 1 or more"):
        measure_padding(teacher, [], draws=0)
