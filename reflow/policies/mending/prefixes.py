"""Statistics under a prefix, as ``so100.buffer_observation_state.mean`` in lerobot/smolvla_base.

LeRobot finds no statistics for ``observation.state`` then, and leaves its normalisation out in silence. One
prefix has one meaning; of several, each is of another robot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor

from reflow.errors import UserError
from reflow.policies.files import PolicyFiles

_BUFFER = "buffer"


def strip_prefixes(files: PolicyFiles) -> Iterator[str]:
    """Gives prefixed statistics their plain names, where the plain ones lack."""
    features = (*files.features("input_features"), *files.features("output_features"))
    for name, tensors in files.statistics.items():
        found = dict(_prefixed(tensors, features))
        needed = [
            key for key in (OBS_STATE, ACTION) if not any(have.startswith(f"{key}.") for have in tensors)
        ]
        if not any(plain.rpartition(".")[0] in needed for _, plain in found.values()):
            continue
        prefixes = sorted({prefix for prefix, _ in found.values()})
        if len(prefixes) > 1:
            raise UserError(
                f"{files.folder / name} holds statistics of several robots, under the prefixes "
                f"{', '.join(prefixes)}; none of them is plainly the policy's. Keep those of your robot, renamed "
                f"to {OBS_STATE}.* and {ACTION}.*, or fine-tune the policy on your data, which saves its statistics"
            )
        for key, (_, plain) in found.items():
            tensors[plain] = tensors.pop(key)
        yield (
            f"{files.folder / name}: the statistics stand under the prefix {prefixes[0]}, where LeRobot does not "
            "look for them; it is the only one, so they were taken"
        )


def without_prefix(name: str, features: Iterable[str]) -> tuple[str, str] | None:
    """A prefixed feature's name as prefix and plain name; None where it is neither prefixed nor a feature.

    Args:
        name: a feature's name, in dots or underscores.
        features: the policy's.
    """
    for feature in features:
        flat = f".{feature}".replace("_", ".")
        if name.replace("_", ".").endswith(flat):
            prefix = name[: -len(flat)]
            return prefix.removesuffix(_BUFFER).rstrip("._"), feature
    return None


def _prefixed(tensors: dict[str, Tensor], features: Iterable[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    for key in tensors:
        name, _, statistic = key.rpartition(".")
        split = without_prefix(name, features) if name not in features else None
        if split is not None:
            yield key, (split[0], f"{split[1]}.{statistic}")
