"""What a velocity error can be compared with: where it must be zero, and what a simple guess already reaches.

The target of a pair, ``u = noise - endpoint``, is a function of the noise. So a student that saw the noise could be
perfect. What it sees is ``x_t``:

- at t = 1 that *is* the noise: the irreducible error there is exactly 0, whatever the teacher;
- below, the error is irreducible only where two noises of one observation share an ``x_t`` but not a ``u``: where
  their straight paths cross. `path_cosines` says how near to crossing sampled pairs come;
- `guess_alone` is no floor but its opposite: the error of the best linear guess of each number from the same number
  of ``x_t``, for one observation, noise and endpoint taken as independent. A student above it has learned nothing
  about how noise and endpoint hang together.

Left out: an estimate of the conditional variance itself. With a few noises in more than a thousand dimensions no two
``x_t`` are ever neighbours, and any number would be an artefact of its kernel.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def endpoint_variance(endpoint: Float[Tensor, "b k h d"]) -> Float[Tensor, "h d"]:
    """Variance of an observation's endpoints over its noises, unbiased, averaged over observations.

    Args:
        endpoint: at least two noises per observation; nan with one.
    """
    if endpoint.shape[1] < 2:
        return torch.full_like(endpoint[0, 0], torch.nan, dtype=torch.float64)
    return endpoint.double().var(dim=1).mean(dim=0)


def guess_alone(variance: Float[Tensor, "*n"], t: float) -> Float[Tensor, "*n"]:
    """Mean squared error of guessing ``u`` from the same number of ``x_t`` alone: ``s2 / (s2 (1 - t)^2 + t^2)``.

    The linear conditional variance of ``noise - action`` given ``t noise + (1 - t) action`` for independent noise of
    variance 1 and action of variance s2.

    Args:
        variance: s2.
        t: above 0, up to 1.
    """
    return variance / (variance * (1 - t) ** 2 + t**2)


def path_cosines(
    noise: Float[Tensor, "b k h d"], endpoint: Float[Tensor, "b k h d"]
) -> Float[Tensor, " pairs"]:
    """For every two noises of one observation, the cosine between their difference and that of their endpoints.

    The straight paths of two pairs meet at some t exactly if this is -1: then ``t * dn + (1 - t) * de = 0`` has a
    solution. The nearer to -1, the nearer they pass; at 0 they keep their distance.
    """
    draws = noise.shape[1]
    one, other = torch.triu_indices(draws, draws, offset=1)
    dn, de = ((x[:, one] - x[:, other]).double().flatten(0, 1).flatten(1) for x in (noise, endpoint))
    return torch.nn.functional.cosine_similarity(dn, de, dim=1)
