"""The founding report's first check, whole: what the teacher's endpoints hold on padding, and what re-padding does.

Beside the report's endpoints: the padding velocity against the one a supervised teacher has, and how far real
dimensions move when only padding noise changes. From these figures :mod:`reflow.doctor.regime` decides. All for
noise as deployed; the endpoints also for noise whose padding is zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.doctor.finding import Check, Table, rows
from reflow.doctor.observe import Observed, observe, swap_padding
from reflow.doctor.regime import regime_findings
from reflow.flow import ActionSpace, PaddingRule, straight_path
from reflow.metrics import PaddingStatistics, RepaddingDifference, Sensitivity
from reflow.policies import Batch, FlowPolicy

TIMES = (1.0, 0.75, 0.5, 0.25)
"""Where padding velocity is compared with its supervised value."""
_STATISTICS = ("mean", "std", "abs_mean", "abs_max")


class _Repadding:
    """Full against re-padded endpoint: over all dimensions, and over each part."""

    def __init__(self, space: ActionSpace) -> None:
        self.rule = PaddingRule(space, target_dims="real")
        self.all, self.parts = RepaddingDifference(space), PaddingStatistics(space)

    def update(self, endpoint: Float[Tensor, "b k h d"]) -> None:
        self.all.update(endpoint)
        self.parts.update(endpoint - self.rule.target(endpoint))

    def figures(self, noise: str) -> dict[str, float]:
        found = {f"{noise}/repadding_all_{name}": value.item() for name, value in self.all.compute().items()}
        for part in self.parts.parts:
            for name in ("max", "mean"):
                found[f"{noise}/repadding_{part}_{name}"] = self.parts.compute()[f"{part}/abs_{name}"].item()
        return found


@torch.no_grad()
def padding_figures(teacher: FlowPolicy, observed: Sequence[Observed]) -> dict[str, float]:
    """Padding of endpoints and velocities, and the sensitivity of real dimensions to padding noise.

    Args:
        teacher: in eval mode.
        observed: its held-out observations.

    Returns:
        ``{deployed,zeroed}/{real,padding}_<statistic>`` of endpoints, ``.../repadding_{all,real,padding}_{max,mean}``
        and, where there is padding, ``endpoint_to_noise`` (mean abs padding of endpoint over that of noise),
        ``velocity_error@<t>`` (:func:`velocity_error`), ``sensitivity`` and ``sensitivity_zeroed``.
    """
    space = teacher.space
    zero = PaddingRule(space, noise_dims="real")
    statistics = {name: PaddingStatistics(space) for name in ("deployed", "zeroed", "noise")}
    repadding = {name: _Repadding(space) for name in ("deployed", "zeroed")}
    moved = {name: Sensitivity(space) for name in ("sensitivity", "sensitivity_zeroed")}
    errors: dict[float, list[Tensor]] = {t: [] for t in TIMES}
    for one in observed:
        ends = {"deployed": one.endpoint}
        if space.padding_dim:
            ends["zeroed"] = teacher.walk(one.context, zero.noise(one.noise))
            redrawn = teacher.walk(one.context, swap_padding(space, one.noise, one.redrawn))
            moved["sensitivity"].update(one.endpoint.cpu(), redrawn.cpu())
            moved["sensitivity_zeroed"].update(one.endpoint.cpu(), ends["zeroed"].cpu())
            for t in TIMES:
                errors[t].append(velocity_error(teacher, one, t).cpu())
        for name, endpoint in ends.items():
            statistics[name].update(endpoint.cpu())
            repadding[name].update(endpoint.cpu())
        statistics["noise"].update(one.noise.cpu())

    figures: dict[str, float] = {}
    for name in ("deployed", "zeroed") if space.padding_dim else ("deployed",):
        for key, value in statistics[name].compute().items():
            figures[f"{name}/{key.replace('/', '_')}"] = value.item()
        figures |= repadding[name].figures(name)
    if space.padding_dim:
        noise = statistics["noise"].compute()["padding/abs_mean"].item()
        figures["endpoint_to_noise"] = figures["deployed/padding_abs_mean"] / noise
        figures |= {f"velocity_error@{t:g}": torch.cat(found).mean().item() for t, found in errors.items()}
        figures |= {name: metric.compute().item() for name, metric in moved.items()}
    return figures


def velocity_error(teacher: FlowPolicy, one: Observed, t: float) -> Float[Tensor, " bk"]:
    """How far the padding velocity is from that of a teacher whose padding was supervised.

    Such a teacher was shown actions whose padding is zero, ``x_t = t * noise`` and ``u = noise`` there. So the point
    asked about has the teacher's own endpoint on real dimensions and zero on padding: where training put it.

    Args:
        teacher: in eval mode.
        one: held-out observations.
        t: time, above 0.

    Returns:
        ``||v - noise|| / ||noise||`` of each chunk, on padding dimensions: 0 for a perfectly supervised teacher, 1
        for a velocity of zero, more for one that has nothing to do with the noise.
    """
    space = teacher.space
    action = PaddingRule(space, target_dims="real").target(one.endpoint)
    times = torch.full(one.noise.shape[:2], t, device=one.noise.device)
    v_t = teacher.velocity(one.context, straight_path(one.noise, action, times).x_t, times)
    noise = space.padding(one.noise).flatten(0, 1).flatten(1)
    return (space.padding(v_t).flatten(0, 1).flatten(1) - noise).norm(dim=1) / noise.norm(dim=1)


def measure_padding(
    teacher: FlowPolicy, batches: Iterable[Batch], draws: int = 4, *, seed: int = 0
) -> dict[str, float]:
    """`padding_figures` straight from held-out batches.

    Args:
        teacher: in eval mode.
        batches: preprocessed, with ``sample``; a few dozen observations are enough.
        draws: noises per observation.
        seed: of the noise.
    """
    return padding_figures(teacher, observe(teacher, batches, draws=draws, seed=seed))


def padding_tables(figures: dict[str, float]) -> tuple[Table, ...]:
    """The report's table: endpoints by part and noise, and full against re-padded endpoint."""
    noises = {"deployed": "as deployed", "zeroed": "padding zeroed"}
    parts = [
        (noise, part) for noise in noises for part in ("real", "padding") if f"{noise}/{part}_mean" in figures
    ]
    lines = [
        (part, noises[noise], *(figures[f"{noise}/{part}_{name}"] for name in _STATISTICS))
        for noise, part in parts
    ]
    repadded = [
        (
            part,
            noises[noise],
            figures[f"{noise}/repadding_{part}_max"],
            figures[f"{noise}/repadding_{part}_mean"],
        )
        for noise in noises
        for part in ("all", "real", "padding")
        if f"{noise}/repadding_{part}_max" in figures
    ]
    return (
        Table(
            "teacher endpoints",
            ("dimensions", "noise", "mean", "std", "mean abs", "max abs"),
            rows(lines),
        ),
        Table("full against re-padded endpoint", ("dimensions", "noise", "max", "mean"), rows(repadded)),
    )


def padding_check(
    teacher: FlowPolicy, observed: Sequence[Observed], *, num_steps: int, rule: PaddingRule | None = None
) -> Check:
    """Measures padding and says what it calls for.

    Args:
        teacher: in eval mode.
        observed: its held-out observations.
        num_steps: steps of the student asked about.
        rule: its padding rule, or None where none was asked about.
    """
    figures = padding_figures(teacher, observed)
    return Check("padding", figures, regime_findings(figures, num_steps, rule), padding_tables(figures))
