"""The report page of a run or an evaluation, its figures, and the comparison of several runs."""

from reflow.reports.content import Comparison, Content, Latency, SuccessRow, Verdict

__all__ = ["Comparison", "Content", "Latency", "SuccessRow", "Verdict"]
