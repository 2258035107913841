"""The observation set: held-out batches, each encoded once by every policy, and the noise by which they start.

Noise is a function of (seed, sample, visit, purpose, draw): whoever measures with the same seed and the same number
of noises measures on the same ones. Left out: what is measured. A probe takes an :class:`Observed`.

Legend of shapes: b batch, k noises per observation, h chunk step, d native width, a real width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import default_collate

from reflow.data import SAMPLE, VISIT, LeRobotDataModule
from reflow.errors import UserError
from reflow.flow import ActionSpace, Draws, PaddingRule, TimeSampler, draw_identities
from reflow.policies import Batch, FlowPolicy, shares_prefix

TEACHER, STUDENT = "teacher", "student"
HELD_OUT = 2**40
"""Draw identities of held-out noise start here: no noise of training is ever met again. Every purpose has as many."""
CHUNKS_AT_ONCE = 128
"""Chunks that one velocity call moves at most: every one of them repeats its observation's context."""


class Purpose(IntEnum):
    """What a noise is for. Different purposes never share one."""

    ENDPOINT = 1
    REDRAWN_PADDING = 2
    REFERENCE = 3
    ANEW = 4
    MOTION = 5
    FAN = 6


@dataclass(frozen=True)
class Observations:
    """Who is measured, and on which noise.

    Attributes:
        policies: by name, in eval mode: ``teacher``, and students where there are any. ``student`` is the one judged.
        draws: all noise.
        count: noises per observation of :attr:`Observed.randn`, 1 or more.
        rule: the padding rule of the student's training, where it is known.
        time: where on the path its training asked it, where that is known and is not where its steps will.
        postprocess: by name, normalised actions ``[*, a]`` to physical ones; where physical errors are asked for.
        taught: the teacher's endpoints found so far, which no training changes: whoever measures again hands it on.

    Raises:
        UserError: count is below 1.
    """

    policies: Mapping[str, FlowPolicy[Any]]
    draws: Draws
    count: int = 4
    rule: PaddingRule | None = None
    time: TimeSampler | None = None
    postprocess: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    taught: dict[tuple[int, ...], Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"draws is {self.count}; allowed: 1 or more noises per observation")

    @property
    def space(self) -> ActionSpace:
        """Of all the policies."""
        return self.policies[TEACHER].space

    @property
    def device(self) -> torch.device:
        """Where the policies are."""
        return next(self.policies[TEACHER].parameters()).device

    def see(self, batch: Batch) -> Observed:
        """A batch as all policies see it; each encodes it when first asked.

        Args:
            batch: preprocessed, with ``sample`` and ``visit``.
        """
        own = {
            key: value.to(self.device) if isinstance(value, Tensor) else value
            for key, value in batch.items()
            if key not in (SAMPLE, VISIT)
        }
        return Observed(self, own, batch[SAMPLE].cpu(), batch[VISIT].cpu())

    def see_all(self, batches: Iterable[Batch]) -> tuple[Observed, ...]:
        """Several batches, to be measured more than once.

        Raises:
            UserError: there is none.
        """
        found = tuple(self.see(batch) for batch in batches)
        if not found:
            raise UserError(
                "there is no held-out observation; choose held-out episodes (data.val_episodes=[...])"
            )
        return found


@dataclass(frozen=True)
class Observed:
    """A batch of observations, seen by every policy.

    Attributes:
        by: who sees it.
        batch: preprocessed, on the policies' device, without identities.
        sample: identity of every observation in its data set.
        visit: which visit to it this is.
    """

    by: Observations
    batch: Batch
    sample: Int[Tensor, " b"]
    visit: Int[Tensor, " b"]
    known: dict[tuple[str, str | int], Any] = field(default_factory=dict, repr=False, compare=False)
    """Contexts and endpoints asked for so far."""

    def _once(self, who: str, what: str | int, make: Callable[[], Any]) -> Any:
        if (who, what) not in self.known:
            self.known[who, what] = make()
        return self.known[who, what]

    @torch.no_grad()
    def context(self, who: str) -> Any:
        """The observations as this policy encodes them; the teacher's where the two share their prefix."""
        policy, teacher = self.by.policies[who], self.by.policies[TEACHER]
        if policy is not teacher and shares_prefix(teacher, policy):
            return self.context(TEACHER)
        return self._once(who, "context", lambda: policy.encode(self.batch))

    def noise(self, purpose: Purpose, count: int) -> Float[Tensor, "b k h d"]:
        """Noise at native width, as stock inference draws it; other visits to an observation meet others."""
        draw = purpose * HELD_OUT + draw_identities(self.visit, count)
        return self.by.policies[TEACHER].noise(self.by.draws, self.sample, draw).to(self.by.device)

    @cached_property
    def randn(self) -> Float[Tensor, "b k h d"]:
        """The noise of endpoint and velocity errors."""
        return self.noise(Purpose.ENDPOINT, self.by.count)

    @property
    def trained_times(self) -> Float[Tensor, "b k"] | None:
        """For every noise of :attr:`randn` a time as training draws it; see :attr:`Observations.time`."""
        if self.by.time is None:
            return None
        draw = Purpose.ENDPOINT * HELD_OUT + draw_identities(self.visit, self.by.count)
        return self.by.time(self.by.draws.uniform(self.sample, draw)).to(self.by.device)

    @property
    def endpoint(self) -> Float[Tensor, "b k h d"]:
        """Where the teacher ends from :attr:`randn` with its own steps."""
        return self.end(TEACHER)

    def end(self, who: str, num_steps: int | None = None) -> Float[Tensor, "b k h d"]:
        """Where this policy ends from :attr:`randn`; integrated once per number of steps."""
        steps = num_steps or self.by.policies[who].num_steps
        if who == TEACHER:
            return self._taught(steps, self.randn)
        return self._once(who, steps, lambda: self.walk(who, self.randn, steps))

    def reference(self, num_steps: int) -> Float[Tensor, "b 1 h d"]:
        """The teacher's solution of very many steps, from the first noise of each observation: that is enough."""
        return self._taught(num_steps, self.randn[:, :1])

    def _taught(self, steps: int, noise: Float[Tensor, "b k h d"]) -> Float[Tensor, "b k h d"]:
        key = (steps, noise.shape[1], *self.sample.tolist(), *self.visit.tolist())
        if key not in self.by.taught:
            self.by.taught[key] = self.walk(TEACHER, noise, steps)
        return self.by.taught[key]

    @torch.no_grad()
    def walk(
        self, who: str, noise: Float[Tensor, "b k h d"], num_steps: int | None = None
    ) -> Float[Tensor, "b k h d"]:
        """Where this policy ends from a noise; ``num_steps`` None is its own."""
        policy, context = self.by.policies[who], self.context(who)
        parts = noise.split(max(1, CHUNKS_AT_ONCE // len(noise)), dim=1)
        return torch.cat([policy.walk(context, part, num_steps) for part in parts], dim=1)

    @torch.no_grad()
    def velocity(
        self, who: str, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        """Velocity of this policy."""
        return self.by.policies[who].velocity(self.context(who), x_t, t)

    def physical(self, who: str, chunk: Float[Tensor, "*b h d"]) -> Float[Tensor, "*b h a"]:
        """What the robot would be told: the real dimensions through the saved postprocessor, on the CPU."""
        return self.by.postprocess[who](self.by.policies[who].output(chunk)).cpu()


def episode_looks(data: LeRobotDataModule, every: int) -> list[list[int]]:
    """Rows of the held-out frames at which a deployed policy looks: 0, n_action_steps, 2 n_action_steps, ...

    Args:
        data: its held-out episodes.
        every: control steps between two looks (``n_action_steps``).

    Returns:
        The rows of every held-out episode, in order of time.
    """
    frames = data.held_out.frames
    looks: dict[int, list[int]] = {}
    for row, (episode, frame) in enumerate(zip(frames.owners, frames.frame_index, strict=True)):
        if frame % every == 0:
            looks.setdefault(int(episode), []).append(row)
    return list(looks.values())


def load_rows(data: LeRobotDataModule, rows: Sequence[int]) -> Iterator[Batch]:
    """Preprocessed batches of held-out frames, in the order of ``rows``."""
    for start in range(0, len(rows), data.batch_size):
        batch = default_collate([data.held_out.frames[row] for row in rows[start : start + data.batch_size]])
        identity = {key: batch.pop(key) for key in (SAMPLE, VISIT)}
        yield {**data.preprocess(batch), **identity}
