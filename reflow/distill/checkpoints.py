"""Checkpoints that are whole or not there.

Lightning stages a checkpoint in the temporary folder and moves it, which is no rename across file systems,
and does not flush it. Here it is staged beside its place, flushed, and renamed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from reflow.files import replace_file


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint plugin with a write that survives being killed."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        replace_file(Path(path), lambda staged: torch.save(checkpoint, staged))
