"""The metrics of a comparison: which are shown, in which direction each is better, and how it is written."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from reflow.errors import UserError
from reflow.reports.curves import name_after

DEFAULT_METRICS = (
    "train/loss",
    "deploy/loss",
    "deploy/gap",
    "deploy/gap_reported",
    "velocity/relative_error",
    *(f"student/endpoint_error@{n}" for n in (1, 2, 4, 10)),
)
SUCCESS = re.compile(r"success/[^/@]+@(\d+)")

type Better = Literal["lower", "higher"]
_BETTER: tuple[tuple[str, Better], ...] = (
    (r"success/[^/]+@\d+(/(low|high|reward))?", "higher"),
    (r"distribution/mode_coverage@\d+", "higher"),
    (r"throughput/(seconds|data_wait)", "lower"),
    (r"throughput/.*", "higher"),
    (r"(train|deploy|velocity|latency|straightness)/.*", "lower"),
    (r"student/.*(error|rmse).*", "lower"),
    (r"distribution/(sliced_wasserstein|energy|mmd)@\d+", "lower"),
)


def choose_metrics(found: Sequence[Mapping[str, float]], asked: Sequence[str] | None) -> tuple[str, ...]:
    """Which metrics to show.

    Args:
        found: metrics of each run.
        asked: names; None for the default.

    Raises:
        UserError: No run has one of those asked for; the message names close ones.
    """
    known = sorted({name for metrics in found for name in metrics})
    if asked is None:
        success = [name for name in known if name.startswith("success/student@") and SUCCESS.fullmatch(name)]
        success.sort(key=lambda name: int(name.rpartition("@")[2]))
        return (*(name for name in DEFAULT_METRICS if name in known), *success)
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
            near = near or [other for other in known if other.partition("/")[0] == name.partition("/")[0]][:5]
            groups = sorted({other.partition("/")[0] for other in known})
            hint = f"close: {', '.join(near)}" if near else f"they begin with: {', '.join(groups)}"
            raise UserError(f"metrics: no run has {name!r}; {hint}")
    return tuple(dict.fromkeys(asked))


def direction(metric: str) -> Better | None:
    """Which values of a metric are better; None where neither is."""
    if metric.endswith("_null"):
        return None
    return next((better for pattern, better in _BETTER if re.fullmatch(pattern, metric)), None)


def is_percent(metric: str) -> bool:
    """Whether a metric is a share, to be shown in percent: relative errors and success rates."""
    return bool(
        re.search(r"error(_to_reference)?(@\d+)?( after \S+ s)?$", metric) or SUCCESS.fullmatch(metric)
    )


def beside_after(
    shown: Sequence[str], found: Sequence[Mapping[str, float]], seconds: float
) -> tuple[str, ...]:
    """The metrics shown, each followed by what it was after so many seconds of training, where a run has that."""
    known = {name for metrics in found for name in metrics}
    pairs = ((name, name_after(name, seconds)) for name in shown)
    return tuple(name for pair in pairs for name in pair if name in known)
