"""Padding of fields that are known: what is measured, and what is decided from it."""

import pytest
import torch
from torch import Tensor

from reflow.doctor import padding_regime, recommend_fix
from reflow.doctor.padding import padding_check
from reflow.doctor.regime import regime_findings
from reflow.flow import ActionSpace, Draws, PaddingRule
from reflow.probes import Observations, Observed, PaddingAsDeployed, PaddingSupervision, measure
from tests.doctor.conftest import SPACE, FieldPolicy, looks, straight

ACTION = torch.tensor([0.5, -1.0, 2.0])


def supervised(x_t: Tensor, t: Tensor) -> Tensor:
    return x_t / t


def still(x_t: Tensor, t: Tensor) -> Tensor:
    return torch.zeros_like(x_t)


def padding_figures(observed: tuple[Observed, ...]) -> dict[str, float]:
    return measure(observed[0].by, observed, [PaddingAsDeployed(), PaddingSupervision()]).metrics


def test_a_perfectly_supervised_teacher() -> None:
    figures = padding_figures(looks(FieldPolicy(straight(ACTION, supervised))))
    assert figures["padding/teacher/endpoint_abs_max"] == pytest.approx(0, abs=1e-6)
    assert figures["padding/teacher/endpoint_zeroed_abs_max"] == 0
    assert figures["real/teacher/endpoint_mean"] == pytest.approx(0.5, abs=1e-6)
    for t in (1, 0.75, 0.5, 0.25):
        assert figures[f"padding/teacher/velocity_error@{t:g}"] == pytest.approx(0, abs=1e-6)
    assert figures["padding/teacher/sensitivity"] == figures["padding/teacher/sensitivity_zeroed"] == 0
    assert padding_regime(figures) == "supervised"


def test_a_teacher_that_leaves_padding_where_it_is() -> None:
    seen = looks(FieldPolicy(straight(ACTION, still)))
    figures = padding_figures(seen)
    assert figures["padding/teacher/endpoint_to_noise"] == pytest.approx(1)
    assert figures["padding/teacher/velocity_error@1"] == pytest.approx(1)
    assert figures["padding/teacher/endpoint_zeroed_abs_max"] == 0
    assert figures["padding/teacher/repadding_max"] == figures["padding/teacher/endpoint_abs_max"]
    share = figures["padding/teacher/endpoint_abs_mean"] * SPACE.padding_dim / SPACE.max_action_dim
    assert figures["padding/teacher/repadding_mean"] == pytest.approx(share)
    assert padding_regime(figures) == "unsupervised"
    endpoints, repadded = padding_check(figures, SPACE, num_steps=1).tables
    assert [row[:2] for row in endpoints.rows] == [
        (part, noise) for noise in ("as deployed", "padding zeroed") for part in ("real", "padding")
    ]
    assert repadded.rows[0][2:] == tuple(
        f"{figures[f'padding/teacher/repadding_{name}']:.4g}" for name in ("max", "mean")
    )


def test_sensitivity_is_what_padding_does_to_real_dimensions() -> None:
    def field(x_t: Tensor, t: Tensor) -> Tensor:
        leak = SPACE.padding(x_t).mean(-1, keepdim=True).expand(*x_t.shape[:-1], SPACE.action_dim)
        return torch.cat([(SPACE.real(x_t) - ACTION) / t + leak, still(SPACE.padding(x_t), t)], dim=-1)

    seen = looks(FieldPolicy(field, num_steps=1))
    figures = padding_figures(seen)
    moved = []
    for one in seen:  # one noise per observation
        leak = SPACE.padding(one.randn[:, :1]).mean(-1).double()  # one step: the endpoint is off by it
        size = one.endpoint[:, :1, :, :3].double().flatten(2).norm(dim=2)
        moved.append(leak[..., None].expand(*leak.shape, 3).flatten(2).norm(dim=2) / size)
    zeroed = figures["padding/teacher/sensitivity_zeroed"]
    assert zeroed == pytest.approx(torch.cat(moved).mean().item(), rel=1e-5)
    assert figures["padding/teacher/sensitivity"] > zeroed


def test_padding_that_is_masked_needs_no_fix() -> None:
    mask = torch.arange(SPACE.max_action_dim) < SPACE.action_dim
    policy = FieldPolicy(lambda x_t, t: mask * x_t / t)
    policy.base_noise = lambda randn: randn * mask  # type: ignore[method-assign]  # of this instance
    figures = padding_figures(looks(policy))
    assert padding_regime(figures) == "masked"
    (finding,) = padding_check(figures, SPACE, num_steps=1).findings
    assert (finding.severity, finding.what_to_do) == ("ok", None)
    assert finding.what.startswith("Masked: the policy holds padding at zero")


def test_no_padding_leaves_the_question_out() -> None:
    space = ActionSpace(5, 5, 4)
    figures = padding_figures(looks(FieldPolicy(lambda x_t, t: x_t / t, space=space)))
    check = padding_check(figures, space, num_steps=1)
    assert padding_regime(figures) == "no padding"
    assert not any("zeroed" in name or name.startswith("padding") for name in figures)
    assert recommend_fix("no padding", figures, 1).fix is None
    assert [finding.severity for finding in check.findings] == ["ok"]
    assert len(check.tables) == 1


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
    figures = {
        "padding/teacher/endpoint_to_noise": endpoint,
        "padding/teacher/velocity_error@1": velocity,
        "padding/teacher/velocity_error@0.5": velocity,
    }
    assert padding_regime(figures) == regime


FIGURES = {
    "padding/teacher/endpoint_to_noise": 1.1,
    "padding/teacher/velocity_error@1": 1.0,
    "padding/teacher/sensitivity": 0.01,
    "padding/teacher/sensitivity_zeroed": 0.2,
    "padding/teacher/repadding_mean": 0.5,
    "padding/teacher/endpoint_abs_mean": 0.9,
    "padding/teacher/endpoint_abs_max": 5.0,
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
    much = {
        finding.name: finding
        for finding in regime_findings({**FIGURES, "padding/teacher/sensitivity": 0.3}, 1, None)
    }
    assert much["padding_sensitivity"].what_to_do == "+fix=valid14"


def test_an_inert_padding_is_never_wrong() -> None:
    rule = PaddingRule(SPACE, inert=True)
    assert "padding_rule" not in {finding.name for finding in regime_findings(FIGURES, 4, rule)}


def test_errors() -> None:
    teacher = {"teacher": FieldPolicy(straight(ACTION, still))}
    with pytest.raises(ValueError, match="there is no held-out observation; choose held-out episodes"):
        Observations(teacher, Draws(0)).see_all([])
    with pytest.raises(ValueError, match="draws is 0; allowed: 1 or more"):
        Observations(teacher, Draws(0), 0)
