"""What marks a callback as a measurement: it takes part in the final measurement on all held-out frames."""

from __future__ import annotations

import lightning as L


class Measurement(L.Callback):
    """Measures while a run validates, and logs flat figures.

    Training validates on few batches now and then; a last ``Trainer.validate`` over all of them, with the
    same callback objects, gives the figures of ``metrics.json``.
    """
