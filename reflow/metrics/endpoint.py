"""Endpoint error: how far from the teacher's action chunk the student's ends.

Left out: the integration, and how many steps it took. For ``endpoint error@n`` keep one metric per ``n``, and
beside it the floors: the teacher itself at ``n`` steps, and its own step count against very many.
"""

from jaxtyping import Float
from torch import Tensor

from reflow.metrics.relative import MeanRelativeDifference


class EndpointError(MeanRelativeDifference):
    """Mean over chunks of ``||student - teacher|| / ||teacher||``, on real dimensions.

    Same observation and same noise for both; the teacher at its own step count.

    Args:
        space: Knows which dimensions are real.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> from reflow.flow import ActionSpace
        >>> error = EndpointError(ActionSpace(action_dim=2, max_action_dim=3, chunk_size=4))
        >>> teacher = torch.ones(5, 4, 3)
        >>> error.update(0.75 * teacher, teacher)
        >>> error.compute()
        tensor(0.2500, dtype=torch.float64)
    """

    def update(self, student: Float[Tensor, "*chunks h d"], teacher: Float[Tensor, "*chunks h d"]) -> None:
        """Add chunks.

        Args:
            student: Endpoints of the student, ``[*chunks, h, d]``.
            teacher: Endpoints of the teacher, same shape.

        Raises:
            UserError: If the shapes differ or are not at native width.
        """
        self._add(student, teacher)
