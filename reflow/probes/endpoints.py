"""Where integration ends, against the teacher, by number of steps; with the teacher's own solver error as floor."""

from __future__ import annotations

from collections.abc import Sequence

from torchmetrics import Metric

from reflow.metrics import EndpointError
from reflow.probes.observations import TEACHER, Observations, Observed
from reflow.probes.probe import Probe, check_steps


class EndpointErrors(Probe):
    """Figures ``<who>/endpoint_error@n``, against the teacher at its own steps, and the floors.

    The floors are ``teacher/endpoint_error@n`` (the teacher in n steps, without distillation) and
    ``teacher/solver_error`` (its own steps against a reference of very many). They do not change during training, so
    they are measured once, in the final measurement.

    Args:
        nfe: numbers of Euler steps.
        reference_steps: of the reference.
        to_reference: ``<who>/endpoint_error_to_reference@n`` too: not what is deployed today, but what it means.

    Raises:
        ValueError: no number of steps, or one below 1.
    """

    def __init__(
        self, nfe: Sequence[int] = (1, 2, 4, 10), reference_steps: int = 100, *, to_reference: bool = False
    ) -> None:
        self.nfe, self.reference_steps, self.to_reference = check_steps(nfe), reference_steps, to_reference

    def make(self, by: Observations) -> dict[str, Metric]:
        """One metric per figure."""
        self._measured = [who for who in by.policies if self.thorough or who != TEACHER]
        figures = ["endpoint_error", *(["endpoint_error_to_reference"] if self.to_reference else [])]
        names = [f"{who}/{name}@{n}" for who in self._measured for name in figures for n in self.nfe]
        names += ["teacher/solver_error"] if self.thorough else []
        return {name: EndpointError(by.space) for name in names}

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        for who in self._measured:
            for n in self.nfe:
                end = seen.end(who, n)
                self.metrics[f"{who}/endpoint_error@{n}"].update(end, seen.endpoint)
                if self.to_reference:
                    reference = seen.reference(self.reference_steps)
                    self.metrics[f"{who}/endpoint_error_to_reference@{n}"].update(end[:, :1], reference)
        if self.thorough:
            reference = seen.reference(self.reference_steps)
            self.metrics["teacher/solver_error"].update(seen.endpoint[:, :1], reference)
