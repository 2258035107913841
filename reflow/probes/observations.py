"""Teacher and student before the same observations, each encoded once, and the noise by which they start.

Noise is a function of (seed, sample, purpose, draw). That of ``Purpose.ENDPOINT`` is what a training run with
the same seed measures its student on, so figures of the two agree.

Left out: what is measured. A probe takes an :class:`Observed` and walks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import default_collate

from reflow.data import SAMPLE, VISIT, LeRobotDataModule
from reflow.flow import Draws
from reflow.policies import Batch, FlowPolicy, share_frozen, shares_prefix

Who = Literal["teacher", "student"]
WHO: tuple[Who, Who] = ("teacher", "student")
CHUNKS_AT_ONCE = 128
"""Chunks that one velocity call moves at most: every one of them repeats its observation's context."""

_APART = 2**40  # training draws lie below, and every purpose has a range of its own above


class Purpose(IntEnum):
    """What a noise is for. Different purposes never share one."""

    ENDPOINT = 1
    REDRAWN_PADDING = 2
    REFERENCE = 3
    ANEW = 4
    MOTION = 5
    FAN = 6


@dataclass(frozen=True)
class Deployed:
    """A policy, and the saved postprocessor that makes physical actions of its endpoints.

    Attributes:
        policy: behind its adapter.
        postprocess: normalised actions ``[*, a]`` to physical ones.
    """

    policy: FlowPolicy[Any]
    postprocess: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pair:
    """Teacher and student, frozen; what is the same in both exists once.

    Attributes:
        teacher: undistilled.
        student: of the same class and sizes.
        draws: all noise of this evaluation.
    """

    teacher: Deployed
    student: Deployed
    draws: Draws

    def __post_init__(self) -> None:
        for who in WHO:
            self.policy(who).eval().requires_grad_(False)
        share_frozen(self.teacher.policy, self.student.policy)

    def policy(self, who: Who) -> FlowPolicy[Any]:
        """The policy of this one."""
        return (self.teacher if who == "teacher" else self.student).policy

    @property
    def device(self) -> torch.device:
        """Where the policies are."""
        return next(self.teacher.policy.parameters()).device

    def observe(self, batch: Batch, count: int = 1) -> Observed:
        """Encodes a batch, once where the two share their prefix.

        Args:
            batch: preprocessed, with ``sample`` and ``visit``.
            count: noises per observation of :attr:`Observed.randn`.
        """
        sample, visit = batch[SAMPLE].cpu(), batch[VISIT].cpu()
        batch = {
            key: value.to(self.device) if isinstance(value, Tensor) else value
            for key, value in batch.items()
            if key not in (SAMPLE, VISIT)
        }
        context = self.teacher.policy.encode(batch)
        shared = shares_prefix(self.teacher.policy, self.student.policy)
        other = context if shared else self.student.policy.encode(batch)
        return Observed(self, sample, visit, {"teacher": context, "student": other}, count)


@dataclass(frozen=True)
class Observed:
    """A batch of observations, as teacher and student have seen them.

    Attributes:
        pair: who saw it.
        sample: identity of every observation in its data set.
        visit: which visit to it this is.
        contexts: encoded observations, by who encoded them.
        count: noises per observation of :attr:`randn`.
    """

    pair: Pair
    sample: Int[Tensor, " b"]
    visit: Int[Tensor, " b"]
    contexts: Mapping[Who, Any]
    count: int
    _ends: dict[tuple[Who, int], Tensor] = field(default_factory=dict, repr=False, compare=False)

    def draw(self, purpose: Purpose, count: int) -> Int[Tensor, "b k"]:
        """Identities of ``count`` noises of a purpose."""
        return purpose * _APART + self.visit[:, None] * count + torch.arange(count)

    def noise(self, purpose: Purpose, count: int) -> Float[Tensor, "b k h d"]:
        """Full-width noise, as stock inference draws it."""
        space = self.pair.teacher.policy.space
        shape = (space.chunk_size, space.max_action_dim)
        return self.pair.draws.noise(self.sample, self.draw(purpose, count), shape).to(self.pair.device)

    @cached_property
    def randn(self) -> Float[Tensor, "b k h d"]:
        """The noise of endpoint errors."""
        return self.noise(Purpose.ENDPOINT, self.count)

    @cached_property
    def uniform(self) -> Float[Tensor, "b k"]:
        """Uniform numbers that times are made of, one for every noise of :attr:`randn`."""
        draw = self.draw(Purpose.ENDPOINT, self.count)
        return self.pair.draws.uniform(self.sample, draw).to(self.pair.device)

    @property
    def endpoint(self) -> Float[Tensor, "b k h d"]:
        """Where the teacher goes from :attr:`randn` with its own steps."""
        return self.end("teacher")

    def end(self, who: Who, num_steps: int | None = None) -> Float[Tensor, "b k h d"]:
        """Where one of the two goes from :attr:`randn`; walked once per number of steps."""
        steps = num_steps or self.pair.policy(who).num_steps
        if (who, steps) not in self._ends:
            self._ends[who, steps] = self.walk(who, self.randn, steps)
        return self._ends[who, steps]

    def walk(
        self, who: Who, noise: Float[Tensor, "b k h d"], num_steps: int | None = None
    ) -> Float[Tensor, "b k h d"]:
        """Where one of the two goes from this noise; ``num_steps`` None is its own."""
        policy, context = self.pair.policy(who), self.contexts[who]
        parts = noise.split(max(1, CHUNKS_AT_ONCE // len(noise)), dim=1)
        return torch.cat([policy.walk(context, part, num_steps) for part in parts], dim=1)

    def velocity(
        self, who: Who, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        """Velocity of one of the two."""
        return self.pair.policy(who).velocity(self.contexts[who], x_t, t)

    def physical(self, who: Who, chunk: Float[Tensor, "*b h d"]) -> Float[Tensor, "*b h a"]:
        """What the robot would be told: the real dimensions through the saved postprocessor, on the CPU."""
        deployed = self.pair.teacher if who == "teacher" else self.pair.student
        return deployed.postprocess(deployed.policy.output(chunk)).cpu()


def episode_looks(data: LeRobotDataModule, every: int) -> list[list[int]]:
    """Rows of the held-out frames at which a deployed policy looks: 0, n_action_steps, 2 n_action_steps, ...

    Args:
        data: its held-out episodes.
        every: control steps between two looks (``n_action_steps``).

    Returns:
        The rows of every held-out episode, in order of time.
    """
    frames = data.held_out.frames
    episodes = frames.dataset.hf_dataset.data.column("episode_index").to_numpy()
    looks: dict[int, list[int]] = {}
    for row, (episode, frame) in enumerate(zip(episodes, frames.frame_index, strict=True)):
        if frame % every == 0:
            looks.setdefault(int(episode), []).append(row)
    return list(looks.values())


def load_rows(data: LeRobotDataModule, rows: Sequence[int]) -> Iterator[Batch]:
    """Preprocessed batches of held-out frames, in the order of ``rows``."""
    for start in range(0, len(rows), data.batch_size):
        batch = default_collate([data.held_out.frames[row] for row in rows[start : start + data.batch_size]])
        identity = {key: batch.pop(key) for key in (SAMPLE, VISIT)}
        yield {**data.preprocess(batch), **identity}
