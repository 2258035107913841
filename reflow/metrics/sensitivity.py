"""Sensitivity: how far the robot's motion depends on numbers that mean nothing, the noise on padding.

Left out: the drawing. The caller integrates twice, with the same noise on real dimensions.
"""

from jaxtyping import Float
from torch import Tensor

from reflow.metrics.relative import MeanRelativeDifference


class Sensitivity(MeanRelativeDifference):
    """Mean over chunks of ``||redrawn - endpoint|| / ||endpoint||``, on real dimensions.

    Same observation and same noise on real dimensions; only the padding noise is drawn again. It is 0 where
    padding is inert (``valid14``).

    Args:
        space: Knows which dimensions are real.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> from reflow.flow import ActionSpace
        >>> sensitivity = Sensitivity(ActionSpace(action_dim=2, max_action_dim=3, chunk_size=4))
        >>> endpoint = torch.ones(5, 4, 3)
        >>> sensitivity.update(endpoint, endpoint + torch.tensor([0.0, 0.0, 9.0]))  # padding alone moved
        >>> sensitivity.compute()
        tensor(0., dtype=torch.float64)
    """

    def update(self, endpoint: Float[Tensor, "*chunks h d"], redrawn: Float[Tensor, "*chunks h d"]) -> None:
        """Add chunks.

        Args:
            endpoint: Where integration ended, ``[*chunks, h, d]``.
            redrawn: Where it ended with other noise on the padding, same shape.

        Raises:
            UserError: If the shapes differ or are not at native width.
        """
        self._add(redrawn, endpoint)
