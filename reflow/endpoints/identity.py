"""Which pairs these are: everything that decides where a noise of an observation ends.

Two caches of one identity hold the same numbers (up to rounding on another machine). Left out: which observations and
how many draws of each are there (``reflow.endpoints.layout``), and library versions, which do not decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from reflow.flow import Draws


@dataclass(frozen=True)
class Identity:
    """What decides about a pair.

    Attributes:
        teacher: fingerprint of the teacher's weights, configuration and processors.
        data_revision: of the data set.
        data_content: :func:`reflow.data.data_content` of the data set's folder.
        rename: from the data set's camera keys to the policy's.
        solver: name of the teacher's solver.
        num_steps: the teacher's steps.
        teacher_noise: which dimensions of the teacher's noise are drawn, ``real`` or ``full``.
        seed: of the noise.
        noise_stream: fingerprint of a few numbers of the noise itself: another numpy might draw others.
        chunk_size: steps of a chunk, ``h``.
        max_action_dim: native width, ``d``.
        precision: of Lightning's trainer, in which the teacher computed.
        matmul_precision: of torch's float32 products.
        velocity: how velocities were computed (``FlowPolicy.velocity_way``).
    """

    teacher: str
    data_revision: str
    data_content: str
    rename: Mapping[str, str]
    solver: str
    num_steps: int
    teacher_noise: str
    seed: int
    noise_stream: str
    chunk_size: int
    max_action_dim: int
    precision: str
    matmul_precision: str
    velocity: str

    def differences(self, other: Identity) -> Iterator[str]:
        """Every field in which a cache (``self``) and a run (``other``) differ, with what to do about it."""
        for name, way_out in _WAYS_OUT.items():
            its, asked = getattr(self, name), getattr(other, name)
            if its != asked:
                yield f"{name}: {_short(its)} in the cache, {_short(asked)} asked for; {way_out}"


_WAYS_OUT = {
    "teacher": "give the teacher these pairs were made with (teacher.path=...)",
    "data_revision": "give the revision of the data set these pairs were made from",
    "data_content": "give the data set these pairs were made from, as it was (data.repo_id=..., data.root=...)",
    "rename": "data.rename=...",
    "solver": "solver=...",
    "num_steps": "teacher.num_steps=...",
    "teacher_noise": "choose the padding by its fix (+fix=...): full32, full_noise and valid14 start the "
    "teacher from full noise, the others from real",
    "seed": "seed=... (in training also pairs.seed=..., for the noise alone)",
    "noise_stream": "numpy draws other numbers than it did; use the numpy of the cache's versions",
    "chunk_size": "another teacher",
    "max_action_dim": "another teacher",
    "precision": "trainer.precision=...",
    "matmul_precision": "matmul_precision=...",
    "velocity": "velocity=...",
}


def noise_stream(seed: int) -> str:
    """A fingerprint of the numbers that a seed stands for."""
    sample, draw = torch.tensor([0, 1, 2**20]), torch.tensor([[0, 1], [2, 3], [7, 2**40]])
    return hashlib.sha256(Draws(seed).noise(sample, draw, (4, 8)).numpy().tobytes()).hexdigest()


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text
