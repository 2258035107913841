"""Everything random as a pure function of (seed, sample, draw).

Order, batching, sharding, workers and interruptions change nothing, so noise need never be stored: its
identity is enough. The generator is Philox (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2,
3"), whose stream is addressed rather than run: seed and purpose are its key, sample and draw the high words
of its counter. Different identities are different streams by construction, not by the luck of a hash.
(torch's own CPU generator keeps 32 bits of its seed: among the millions of noises of one training run, some
would be the same.)

Left out: what a draw's number means. The caller decides, for instance ``visit * k + j``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reflow.errors import UserError

# Part of the key: a number of the one kind never moves with a number of another.
_NOISE, _TIME = 0, 1


class _Streams:
    """All streams of one purpose; `seek` moves to the start of one."""

    def __init__(self, seed: int, purpose: int) -> None:
        self.bits = np.random.Philox(key=np.array([seed, purpose], dtype=np.uint64))
        self.normal = np.random.Generator(self.bits)
        self._state = self.bits.state

    def seek(self, sample: int, draw: int) -> None:
        # The two low words count along the stream: 2**128 blocks before it meets the next draw.
        self._state["state"]["counter"][:] = (0, 0, draw, sample)
        self.bits.state = self._state


@dataclass(frozen=True)
class Draws:
    """Random numbers by identity; uses and disturbs no global generator.

    Numbers come on the CPU: the caller moves them. They are stable for one version of numpy.

    Attributes:
        seed: Of the run, 0 to 2**64 - 1.
        noise_seed: Of the noise alone, in the same range; None for `seed`.

    Raises:
        UserError: If a seed is out of range.

    Example:
        >>> sample, draw = torch.tensor([7, 8]), torch.tensor([[0, 1], [0, 1]])
        >>> both = Draws(seed=1).noise(sample, draw, (50, 32))
        >>> torch.equal(Draws(seed=1).noise(sample[1:], draw[1:, :1], (50, 32)), both[1:, :1])
        True
    """

    seed: int
    noise_seed: int | None = None

    def __post_init__(self) -> None:
        for name, seed in (("seed", self.seed), ("noise_seed", self.noise_seed)):
            if seed is not None and not 0 <= seed < 2**64:
                raise UserError(f"{name} is {seed}; allowed: 0 to 2**64 - 1; pick a number in that range")

    def noise(
        self, sample: Int[Tensor, " b"], draw: Int[Tensor, "b k"], shape: tuple[int, ...]
    ) -> Float[Tensor, "b k *shape"]:
        """Draw standard normal noise.

        Args:
            sample: Identity of each observation, 0 or more (its index in the data set).
            draw: Identity of each draw for that observation, 0 or more.
            shape: Of one noise, ``(h, d)``. A smaller noise is a prefix of a larger one, in memory order.

        Returns:
            float32 noise, ``[b, k, *shape]``, on the CPU.

        Raises:
            UserError: If an identity is not a whole number from 0, or the shapes do not fit.
        """
        streams = _Streams(self.seed if self.noise_seed is None else self.noise_seed, _NOISE)
        out = np.empty((*draw.shape, *shape), dtype=np.float32)
        for row, draws, of_sample in zip(out, *_identities(sample, draw), strict=True):
            for target, number in zip(row, draws, strict=True):
                streams.seek(of_sample, number)
                streams.normal.standard_normal(dtype=np.float32, out=target)
        return torch.from_numpy(out)

    def uniform(self, sample: Int[Tensor, " b"], draw: Int[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """Draw the uniform numbers from which `reflow.flow.time` makes times; independent of the noise.

        Args:
            sample: Identity of each observation, 0 or more.
            draw: Identity of each draw for that observation, 0 or more.

        Returns:
            float32 multiples of 2**-24 in [0, 1), ``[b, k]``, on the CPU.

        Raises:
            UserError: If an identity is not a whole number from 0, or the shapes do not fit.
        """
        streams = _Streams(self.seed, _TIME)
        out = np.empty(tuple(draw.shape), dtype=np.float32)
        for row, draws, of_sample in zip(out, *_identities(sample, draw), strict=True):
            for j, number in enumerate(draws):
                streams.seek(of_sample, number)
                # 24 bits are exact in float32; more would be rounded, and some of them up to 1.
                row[j] = (int(streams.bits.random_raw()) >> 40) * 2.0**-24
        return torch.from_numpy(out)


def draw_identities(visit: Int[Tensor, " b"], draws: int, pool: int | None = None) -> Int[Tensor, "b k"]:
    """Say which noises of an observation each of its visits uses.

    Args:
        visit: How often each observation was used before, 0 or more.
        draws: Noises per visit ``k``, at least 1.
        pool: How many noises an observation has in all, used again and again in the same order; None for no end of
            them.

    Returns:
        ``visit * draws + 0 ... draws - 1``, modulo ``pool``.

    Raises:
        UserError: If ``draws`` is below 1, or ``pool`` below ``draws`` (a visit would use one noise twice).
    """
    if draws < 1:
        raise UserError(f"draws is {draws}; allowed: 1 or more")
    if pool is not None and pool < draws:
        raise UserError(
            f"objective.draw_pool is {pool}, objective.draws {draws}; allowed: a pool of {draws} or more, or null; a "
            "visit would use one noise twice"
        )
    identity = visit[:, None] * draws + torch.arange(draws, device=visit.device)
    return identity if pool is None else identity % pool


def _identities(sample: Tensor, draw: Tensor) -> tuple[list[list[int]], list[int]]:
    """Return the checked identities as ``(draw, sample)`` lists."""
    for field, value in (("sample", sample), ("draw", draw)):
        if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
            raise UserError(
                f"{field} has dtype {value.dtype}; allowed: an integer dtype; pass indices as torch.int64"
            )
        if value.numel() and int(value.min()) < 0:
            raise UserError(f"{field} holds {int(value.min())}; allowed: 0 or more; number from 0 upwards")
    if sample.ndim != 1 or draw.ndim != 2 or draw.shape[0] != sample.shape[0]:
        raise UserError(
            f"sample has shape {tuple(sample.shape)}, draw {tuple(draw.shape)}; allowed: [b] and [b, k]; "
            "give every sample its own row of draws"
        )
    return draw.tolist(), sample.tolist()
