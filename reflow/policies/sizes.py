"""Policies of a known size with random weights: what a benchmark is run on where no checkpoint is at hand."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reflow.policies.base import FlowPolicy


class BuildRandom(Protocol):
    """Builds a policy whose weights are drawn from torch's global generator."""

    @abstractmethod
    def __call__(
        self,
        scratch: Path,
        *,
        joints: int,
        cameras: Mapping[str, tuple[int, int, int]],
        task: str,
        chunk_size: int,
    ) -> FlowPolicy:
        """The policy.

        Args:
            scratch: a folder for what it needs beside its weights; it stays.
            joints: width of state and action.
            cameras: ``observation.images.*`` key to (channels, height, width).
            task: words that it has to know.
            chunk_size: steps of an action chunk.
        """


@dataclass(frozen=True)
class PolicySize:
    """A policy of a known size.

    Attributes:
        parameters, trained: of the policy, and of them trained; rounded, to tell the memory by.
        build: makes one.
    """

    parameters: float
    trained: float
    build: BuildRandom
