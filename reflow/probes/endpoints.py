"""Where integration ends, against the teacher, by number of steps; with the teacher's own solver error as floor."""

from __future__ import annotations

from collections.abc import Sequence

from reflow.metrics import EndpointError
from reflow.probes.observations import TEACHER, Observed
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
        own: further numbers, those that a student is trained for.

    Raises:
        UserError: no number of steps, or one below 1.
    """

    def __init__(
        self,
        nfe: Sequence[int] = (1, 2, 4, 10),
        reference_steps: int = 100,
        *,
        to_reference: bool = False,
        own: int | Sequence[int] | None = None,
    ) -> None:
        more = () if own is None else (own,) if isinstance(own, int) else own
        self.nfe = check_steps(list(dict.fromkeys([*nfe, *more])) if nfe else nfe)
        self.reference_steps, self.to_reference = reference_steps, to_reference

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        for who in seen.by.policies:
            for n in self.nfe if self.thorough or who != TEACHER else ():
                end = seen.end(who, n)
                self.add(f"{who}/endpoint_error@{n}", EndpointError, end, seen.endpoint)
                if self.to_reference:
                    reference = seen.reference(self.reference_steps)
                    self.add(f"{who}/endpoint_error_to_reference@{n}", EndpointError, end[:, :1], reference)
        if self.thorough:
            reference = seen.reference(self.reference_steps)
            self.add("teacher/solver_error", EndpointError, seen.endpoint[:, :1], reference)
