"""Which pairs a run wants, and a cache that holds them, or an error that says in what it does not.

Asked alike by who makes a cache (``reflow.pairs``) and who learns from one (``reflow.train``). Left out: making them
(``reflow.endpoints.fill``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from reflow.data import OpenSource, Source, content_of, open_sources, samples_of
from reflow.endpoints import Identity, PairCache, noise_stream
from reflow.errors import UserError
from reflow.flow import PaddingRule
from reflow.notices import warn
from reflow.policies import VELOCITY, FlowPolicy, StorablePrefix, fingerprint
from reflow.versions import versions_of

_DECISIVE = ("reflow", "torch", "lerobot", "transformers", "numpy")
_PRECISIONS = {"32": "32-true", "64": "64-true", "16": "16-mixed", "bf16": "bf16-mixed"}


@dataclass(frozen=True)
class Walks:
    """How the teacher integrates their noises.

    Attributes:
        solver: name of the teacher's solver.
        num_steps: its steps; None for the teacher's own number.
        seed: of the noise.
        precision: of Lightning's trainer.
        matmul_precision: of torch's float32 products.
    """

    solver: str
    num_steps: int | None
    seed: int
    precision: str | int
    matmul_precision: str


def pair_identity(
    teacher: FlowPolicy,
    folder: Path,
    rule: PaddingRule,
    sources: Sequence[OpenSource],
    walks: Walks,
) -> Identity:
    """What decides about the pairs of a run.

    Args:
        teacher: loaded, with its way of computing velocities.
        folder: that it was loaded from.
        rule: what of a draw the teacher starts from.
        sources: the data sets, opened.
        walks: how the teacher integrates.
    """
    return Identity(
        teacher=fingerprint(folder),
        data_revision=", ".join(str(source.meta.revision) for source in sources),
        data_content=content_of(sources),
        rename=_renames(sources),
        solver=walks.solver,
        num_steps=walks.num_steps or teacher.num_steps,
        teacher_noise="full" if rule.inert else rule.noise_dims,
        seed=walks.seed,
        noise_stream=noise_stream(walks.seed),
        chunk_size=rule.space.chunk_size,
        max_action_dim=rule.space.max_action_dim,
        precision=_PRECISIONS.get(str(walks.precision), str(walks.precision)),
        matmul_precision=walks.matmul_precision,
        velocity=teacher.velocity_way,
    )


def fit(
    path: str | Path,
    teacher: FlowPolicy,
    folder: Path,
    rule: PaddingRule,
    sources: Sequence[Source],
    walks: Walks,
    *,
    stored_precision: str = "float32",
    trained: Collection[str] = (VELOCITY,),
) -> PairCache:
    """The cache at ``path``, if it holds the pairs that a run would make live.

    Args:
        path: the cache's folder.
        teacher: loaded, with its way of computing velocities.
        folder: that it was loaded from.
        rule: what of a draw the teacher starts from.
        sources: the data sets of the run's observations.
        walks: how its teacher would integrate.
        stored_precision: that stored vision features or prefixes must have.
        trained: the student's parameter groups in training; what is stored and depends on them is not its own, and
            left aside.

    Raises:
        MissingFileError: there is no cache, or no data set.
        OtherPairsError: names every field in which the cache differs, or the episodes it lacks.
        UserError: the cache is damaged or not complete, or something in it was stored in another precision.
    """
    vision_groups = teacher.vision_groups if isinstance(teacher, StorablePrefix) else ()
    stale = {"prefix"} if set(trained) - {VELOCITY} else set()
    cache = PairCache(path, leave_out=stale | ({"vision"} if set(trained) & set(vision_groups) else set()))
    for store in [name for name in ("prefix", "vision") if name in cache.stores][:1]:  # the one that is read
        if (precision := cache.stores[store]) != stored_precision:
            raise UserError(
                f"pairs.precision={stored_precision}, but {store} is stored as {precision} in {cache.path}; accept "
                f"its rounding (pairs.precision={precision}), or make a cache with store_precision={stored_precision}"
            )
    opened = open_sources(sources)
    cache.manifest.check_identity(pair_identity(teacher, folder, rule, opened, walks), cache.path)
    cache.manifest.check_covers(*samples_of(opened), cache.path)
    warn_of_versions(cache)
    return cache


def _renames(sources: Sequence[OpenSource]) -> dict[str, str]:
    """What was asked to be renamed; of several data sets each behind its number."""
    asked = [source.source.rename or {} for source in sources]
    if len(asked) == 1:
        return dict(asked[0])
    return {f"{number}/{key}": name for number, rename in enumerate(asked) for key, name in rename.items()}


def decisive_versions() -> dict[str, str]:
    """Versions of what computes endpoints, as installed here."""
    return versions_of(_DECISIVE)


def warn_of_versions(cache: PairCache) -> None:
    """Warns of libraries that have changed since a cache was made."""
    there, here = cache.manifest.versions, decisive_versions()
    changed = [
        f"{name} {there[name]} then, {here[name]} now"
        for name in _DECISIVE
        if there.get(name, here[name]) != here[name]
    ]
    if changed:
        warn(
            f"{cache.path} was made with other versions ({'; '.join(changed)}); its endpoints may differ in rounding "
            "from those that this run would make"
        )
