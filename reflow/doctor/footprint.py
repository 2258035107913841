"""What a policy weighs, and what training a student of it keeps in memory: from its parameters alone.

Masters are float32, whatever is computed in. What is frozen exists once for teacher and student. For each trained
parameter there are a gradient, two moments of Adam and an average beside the weight itself. Activations come on top
(:mod:`reflow.doctor.cost` measures them for the batch asked about).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import nn

from reflow.doctor.finding import Table
from reflow.policies import VELOCITY, FlowPolicy, StorablePrefix, low_rank_layers, parameter_groups
from reflow.words import size_words

RANK = 16
"""Of the low-rank additions in the table, where no other was asked for."""
COPIES = 5
"""Of a trained parameter: weight, gradient, two moments of Adam, average."""
CARDS = (24, 48, 80)
"""Memory of the cards in question, in 10^9 bytes."""


@dataclass(frozen=True)
class Footprint:
    """Numbers of parameters.

    Attributes:
        groups: of each parameter group.
        trained: of the groups that are trained.
        low_rank: trained with low-rank additions in the place of large layers.
        rank: of those additions.
        stores_prefix: whether its prefixes can be kept in a pair cache.
    """

    groups: dict[str, int]
    trained: int
    low_rank: int
    rank: int = RANK
    stores_prefix: bool = True

    @property
    def total(self) -> int:
        """Of the policy."""
        return sum(self.groups.values())

    def bytes(self) -> dict[str, int]:
        """Bytes of each way to run or train it, float32 but where it is said."""
        return {
            "teacher": 4 * self.total,
            "teacher_bfloat16": 2 * self.total,
            "teacher_and_student": 4 * (self.total + self.trained),
            "training": 4 * (self.total + COPIES * self.trained),
            "training_low_rank": 4 * (self.total + COPIES * self.low_rank),
        } | (self._cached if self.stores_prefix else {})

    @property
    def _cached(self) -> dict[str, int]:
        """From cached prefixes a training step reads the student's trained part alone."""
        return {
            "training_cached": 4 * COPIES * self.trained,
            "training_cached_low_rank": 4 * (self.trained + COPIES * self.low_rank),
        }


def footprint(flow: FlowPolicy, trained: Collection[str] = (VELOCITY,), rank: int | None = None) -> Footprint:
    """Counts a policy's parameters; it may be on the meta device.

    Args:
        flow: the policy, without low-rank additions.
        trained: its parameter groups that are trained.
        rank: of the additions; None for :data:`RANK`.
    """
    groups = parameter_groups(flow)
    rank = RANK if rank is None else rank
    layers = low_rank_layers(flow, trained, rank)
    inside = {id(p): p.numel() for name in trained for p in groups[name].values()}
    replaced = {id(layer.weight) for layer in layers.values()}
    words = {
        id(module.weight) for module in flow.policy.modules() if isinstance(module, nn.Embedding)
    }  # they stay frozen
    whole = sum(count for key, count in inside.items() if key not in replaced | words)
    added = sum(rank * (layer.in_features + layer.out_features) for layer in layers.values())
    counts = {name: sum(p.numel() for p in parameters.values()) for name, parameters in groups.items()}
    stores_prefix = isinstance(flow, StorablePrefix)
    return Footprint(counts, sum(inside.values()), whole + added, rank, stores_prefix)


def footprint_table(of: Footprint) -> Table:
    """Ways to run and train it, each with what it takes and the cards that have as much, before activations."""
    found = of.bytes()
    lines = (
        ("teacher alone", "teacher"),
        ("teacher alone, in bfloat16", "teacher_bfloat16"),
        ("teacher and student, what is frozen shared", "teacher_and_student"),
        ("training, teacher live", "training"),
        (f"training, student.lora={of.rank}", "training_low_rank"),
        ("training steps from cached prefixes", "training_cached"),
        (f"training steps from cached prefixes, student.lora={of.rank}", "training_cached_low_rank"),
    )
    return Table(
        f"memory by parameters: {millions(of.total)} in all, {millions(of.trained)} trained, "
        f"{millions(of.low_rank)} with student.lora={of.rank}",
        ("float32 masters, activations on top", "takes", "fits"),
        tuple(
            (what, size_words(found[name]), smallest_card(found[name]))
            for what, name in lines
            if name in found
        ),
    )


def sizes_tables(found: Mapping[str, Footprint]) -> tuple[Table, Table]:
    """Policies side by side: their parameters, and what each way to run or train them takes.

    Args:
        found: by name of the policy; of one rank.
    """
    low_rank = f"lora={next(iter(found.values())).rank}"
    counts = [(name, *map(millions, (of.total, of.trained, of.low_rank))) for name, of in found.items()]
    ways = (
        "teacher",
        "teacher_bfloat16",
        "teacher_and_student",
        "training",
        "training_low_rank",
        "training_cached",
    )
    taken = [(name, *(_gigabytes(of.bytes().get(way)) for way in ways)) for name, of in found.items()]
    return (
        Table("parameters", ("policy", "all", "trained", low_rank), tuple(counts)),
        Table(
            "GB of memory, activations on top; float32 but for bf16",
            ("policy", "teacher", "in bf16", "+ student", "training", low_rank, "cached"),
            tuple(taken),
        ),
    )


def _gigabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e9:.3g}"


def smallest_card(count: float) -> str:
    """The smallest card that has more than this, e.g. ``24 GB``."""
    return next((f"{card} GB" for card in CARDS if count < card * 1e9), "none of these")


def millions(count: float) -> str:
    """A number of parameters as a person reads it: ``450 M``, ``3.35 B``."""
    return f"{count / 1e9:.3g} B" if count >= 1e9 else f"{count / 1e6:.3g} M"
