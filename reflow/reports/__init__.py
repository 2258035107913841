"""The report page of a run or an evaluation, its figures, and the comparison of several runs."""

from reflow.reports.content import Content, Latency, SuccessRow, Verdict

__all__ = ["Content", "Latency", "SuccessRow", "Verdict"]
