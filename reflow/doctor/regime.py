"""Was the teacher's padding ever supervised, and which fix does that call for? Decided from figures alone.

Two kinds of checkpoints exist. Where the loss covered all native dimensions (LeRobot's SmolVLA until 0.5.0, openpi),
padding was taught to end at zero: its velocity is the noise itself. Where it covered the real dimensions (LeRobot
since), padding was taught nothing: it ends anywhere, and the policy has learned to live with whatever is there.

Left out: the measuring (:class:`reflow.probes.PaddingAsDeployed`, :class:`reflow.probes.PaddingSupervision`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from reflow.doctor.finding import Finding
from reflow.flow import PaddingRule
from reflow.reports.ablation import SUPERVISED, ablation

_TEACHER = "padding/teacher/"
Regime = Literal["supervised", "unsupervised", "unclear", "masked", "no padding"]

# Of the padding's endpoint over the noise, and of the error of its velocity. The demo's supervised teacher has 0.006
# and 0.03, the founding report's 0.009 for the first, the demo's other teacher 1.15 and 1.16; in between lie
# teachers fine-tuned for a while under the other loss.
ENDPOINT_SUPERVISED, ENDPOINT_UNSUPERVISED = 0.1, 0.4
VELOCITY_SUPERVISED, VELOCITY_UNSUPERVISED = 0.35, 0.7
ONE_STEP, SEVERAL_STEPS = "[full_noise,keep_target]", "full32"
"""What is recommended where there is padding. In the ablation each was within the noise of the best learned
rule at its steps, on both regimes; keep_target without full_noise was harmful on both."""
SENSITIVE = 0.05
"""Real dimensions that move by more than this share when only padding noise changes are called sensitive."""


NOTHING_TO_TREAT: dict[str, str] = {
    "no padding": "all native dimensions are real, so all fixes are one",
    "masked": "the policy holds padding at zero, in noise, velocities and endpoints, so all fixes are one, but for "
    "the weight of the loss",
}
"""By regime, why no fix is better than another."""


@dataclass(frozen=True)
class Recommendation:
    """A fix for a teacher.

    Attributes:
        fix: one or several of ``conf/fix``, as ``+fix=`` takes them; None where padding needs none.
        reason: one sentence with the figures.
    """

    fix: str | None
    reason: str


def padding_regime(figures: Mapping[str, float]) -> Regime:
    """How the teacher's padding was trained.

    Args:
        figures: of :class:`reflow.probes.PaddingAsDeployed` and :class:`reflow.probes.PaddingSupervision`.

    Returns:
        ``supervised`` where both the endpoint is near zero and the velocity near the noise, ``unsupervised`` where
        either is far from that, ``unclear`` in between. ``masked`` where the policy holds it at zero by itself.
    """
    if f"{_TEACHER}endpoint_to_noise" not in figures:
        return "masked" if f"{_TEACHER}endpoint_abs_mean" in figures else "no padding"
    endpoint, velocity = figures[f"{_TEACHER}endpoint_to_noise"], velocity_figure(figures)
    if endpoint < ENDPOINT_SUPERVISED and velocity < VELOCITY_SUPERVISED:
        return "supervised"
    if endpoint > ENDPOINT_UNSUPERVISED or velocity > VELOCITY_UNSUPERVISED:
        return "unsupervised"
    return "unclear"


def velocity_figure(figures: Mapping[str, float]) -> float:
    """Mean over times of the padding velocity's error."""
    errors = [value for name, value in figures.items() if name.startswith(f"{_TEACHER}velocity_error@")]
    return sum(errors) / len(errors)


def recommend_fix(regime: Regime, figures: Mapping[str, float], num_steps: int) -> Recommendation:
    """Which of ``conf/fix`` this teacher and this student call for.

    Args:
        regime: of :func:`padding_regime`.
        figures: of :class:`reflow.probes.PaddingAsDeployed` and :class:`reflow.probes.PaddingSupervision`.
        num_steps: steps of the student.
    """
    if regime in NOTHING_TO_TREAT:
        return Recommendation(None, NOTHING_TO_TREAT[regime])
    zeroed, lost = figures[f"{_TEACHER}sensitivity_zeroed"], figures[f"{_TEACHER}endpoint_abs_mean"]
    noise = (
        f"zero-padded noise (problem 3) would move the teacher's real dimensions by {zeroed:.1%}"
        f"{'' if zeroed > SENSITIVE else ', little enough'}"
    )
    if num_steps == 1:
        fix = ONE_STEP
        real, full = (ablation()[SUPERVISED, fix].endpoint_error_1[0] for fix in (ONE_STEP, SEVERAL_STEPS))
        target = (
            "a one-step student is asked at t=1 only, where x_t is the noise: no padding it puts out ever comes back "
            "as its input, so the whole loss may go to the real dimensions (in the ablation endpoint error@1 was "
            f"{real:.1f} % instead of {full:.1f} % with full32 on the supervised teacher, the same on the other)"
        )
    else:
        fix = SEVERAL_STEPS
        target = (
            f"a student of {num_steps} steps meets the endpoint's padding in its input from the second step on, and "
            f"integrates it by its own padding velocity: re-padding (problem 1) is wrong there by {lost:.2g} and a "
            "loss without padding (problem 2) leaves that velocity untaught"
        )
    known = {
        "supervised": "padding was supervised and ends at zero",
        "unsupervised": "padding was never supervised and ends anywhere",
        "unclear": "padding is neither at zero nor free, as after fine-tuning under another loss",
    }[regime]
    return Recommendation(fix, f"{known}; {noise}; {target}")


def regime_findings(
    figures: Mapping[str, float], num_steps: int, rule: PaddingRule | None
) -> tuple[Finding, ...]:
    """What the padding figures say about this teacher, and about the rule that was asked about.

    Args:
        figures: of :class:`reflow.probes.PaddingAsDeployed` and :class:`reflow.probes.PaddingSupervision`.
        num_steps: steps of the student.
        rule: the distillation's padding rule; None where none was asked about.
    """
    regime = padding_regime(figures)
    advice = recommend_fix(regime, figures, num_steps)
    if advice.fix is None:
        return (Finding("padding_regime", "ok", f"{regime[0].upper()}{regime[1:]}: {advice.reason}."),)
    endpoint = Finding(
        "padding_endpoint",
        "ok" if regime == "supervised" else "note",
        f"The padding of the teacher's endpoint is {'zero, nearly' if regime == 'supervised' else 'not zero'}: "
        f"mean abs {figures[f'{_TEACHER}endpoint_abs_mean']:.4g}, "
        f"max abs {figures[f'{_TEACHER}endpoint_abs_max']:.4g}.",
        f"Re-padding changes an endpoint by {figures[f'{_TEACHER}repadding_mean']:.4g} on average over all "
        "dimensions.",
    )
    what = (
        f"Padding {regime}: its endpoint is {figures[f'{_TEACHER}endpoint_to_noise']:.1%} of the noise, its velocity "
        f"{velocity_figure(figures):.1%} from that of a supervised teacher."
    )
    verdict = Finding(
        "padding_regime",
        "note" if regime == "unclear" or rule is None else "ok",
        what,
        f"{advice.reason[0].upper()}{advice.reason[1:]}.",
        f"+fix={advice.fix}",
    )
    return (endpoint, verdict, _sensitivity(figures), *_judge(figures, num_steps, rule, advice))


def _sensitivity(figures: Mapping[str, float]) -> Finding:
    redrawn, zeroed = figures[f"{_TEACHER}sensitivity"], figures[f"{_TEACHER}sensitivity_zeroed"]
    much = redrawn > SENSITIVE
    return Finding(
        "padding_sensitivity",
        "note" if much else "ok",
        f"Real dimensions move by {redrawn:.1%} when only padding noise is redrawn, by {zeroed:.1%} when zeroed.",
        "So much of the robot's motion hangs on numbers that mean nothing; valid14 makes a student's padding inert."
        if much
        else "",
        "+fix=valid14" if much else None,
    )


def _judge(
    figures: Mapping[str, float], num_steps: int, rule: PaddingRule | None, advice: Recommendation
) -> tuple[Finding, ...]:
    if rule is None or rule.inert:
        return ()
    problems = []
    zeroed = figures[f"{_TEACHER}sensitivity_zeroed"]
    if rule.noise_dims == "real" and zeroed > SENSITIVE:
        problems.append(f"zero-padded noise moves the teacher's real dimensions by {zeroed:.1%} (problem 3)")
    if rule.noise_dims == "real":
        problems.append("the student never meets the padding noise that inference draws (problem 3)")
    if num_steps > 1 and rule.target_dims == "real" and padding_regime(figures) != "supervised":
        problems.append(
            f"re-padding throws away {figures[f'{_TEACHER}endpoint_abs_mean']:.2g} on padding (problem 1)"
        )
    if num_steps > 1 and rule.loss_dims == "real":
        problems.append("padding velocity is untaught, yet fed back from the second step on (problem 2)")
    if not problems:
        return (Finding("padding_rule", "ok", f"The padding rule asked about suits {num_steps} step(s)."),)
    return (
        Finding(
            "padding_rule",
            "warning",
            f"The padding rule asked about does not suit this teacher and {num_steps} step(s): "
            + "; ".join(problems)
            + ".",
            "Deployment will see another loss than training reports.",
            f"+fix={advice.fix}",
        ),
    )
