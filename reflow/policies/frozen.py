"""A box that keeps a teacher out of everything that walks over modules.

In it the teacher is no child module: the optimizer, the checkpoint, ``.train()`` and Lightning's weight
averaging (which deep-copies the whole module) do not see it.
"""

from __future__ import annotations

from typing import Any

import torch

from reflow.policies import FlowPolicy


class Frozen:
    """Holds a teacher in eval mode and without gradients.

    Args:
        policy: the teacher; frozen here.
    """

    def __init__(self, policy: FlowPolicy) -> None:
        self.policy = policy.eval().requires_grad_(False)

    def to(self, device: torch.device) -> None:
        """Moves the teacher; Lightning does not, as it does not know it."""
        self.policy.to(device)

    def __deepcopy__(self, memo: dict[int, Any]) -> Frozen:
        """A copy shares the teacher: there is only ever one."""
        return self
