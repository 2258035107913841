"""Statistics under a prefix, as ``so100.buffer_observation_state.mean`` in lerobot/smolvla_base.

LeRobot finds no statistics for ``observation.state`` then, and leaves its normalisation out in silence. One
prefix has one meaning; of several, each is of another robot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.errors import UserError
from reflow.policies.files import PolicyFiles

_BUFFER = ".buffer"


def strip_prefixes(files: PolicyFiles) -> Iterator[str]:
    """Gives prefixed statistics their plain names, where the plain ones lack."""
    features = (*files.features("input_features"), *files.features("output_features"))
    for name, tensors in files.statistics.items():
        plain = {key.rpartition(".")[0] for key in tensors}
        found = {
            key: split
            for key in tensors
            if (split := split_prefix(key, features)) is not None and split[1].rpartition(".")[0] not in plain
        }
        if not any(key.startswith((f"{OBS_STATE}.", f"{ACTION}.")) for _, key in found.values()):
            continue
        prefixes = sorted({prefix for prefix, _ in found.values()})
        if len(prefixes) > 1:
            raise UserError(
                f"{files.folder / name} holds statistics of several robots, under the prefixes "
                f"{', '.join(prefixes)}; none of them is plainly the policy's. Keep those of your robot, renamed "
                f"to {OBS_STATE}.* and {ACTION}.*, or fine-tune the policy on your data, which saves its statistics"
            )
        for key, (_, plain_key) in found.items():
            tensors[plain_key] = tensors.pop(key)
        yield (
            f"{files.folder / name}: the statistics stand under the prefix {prefixes[0]}, where LeRobot does not "
            "look for them; it is the only one, so they were taken"
        )


def split_prefix(key: str, features: Iterable[str]) -> tuple[str, str] | None:
    """Prefix and plain name of a statistic; None where it has no prefix or is of no feature.

    Args:
        key: ``<prefix>.buffer_<feature>.<statistic>``, the feature in dots or underscores.
        features: the policy's.
    """
    name, _, statistic = key.rpartition(".")
    prefix, marker, rest = name.partition(_BUFFER)
    for feature in features:
        if marker and rest[1:].replace("_", ".") == feature.replace("_", "."):
            return prefix, f"{feature}.{statistic}"
    return None
