"""Weights of pi0 and pi05 under openpi's names, as the checkpoints that were converted from it have them.

LeRobot renames them while it loads: nothing stands below ``model`` there, the layers that embed the time go by the
other policy's name at times, and the embedding of words is left out where the head over words is the same matrix.
Where anything is then left over, LeRobot says so in a line and runs random weights; loading refuses that here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from reflow.policies.files import PolicyFiles, Tensors
from reflow.policies.whole import old_buffers

_TIME = {"pi0": ("time_mlp_", "action_time_mlp_"), "pi05": ("action_time_mlp_", "time_mlp_")}
"""How the layers that embed the time may begin, and how they do, by policy type."""
_NOT_PI05 = re.compile(
    r"state_proj\.|paligemma_with_expert\.gemma_expert\.model\."
    r"(layers\.\d+\.(input|post_attention)_layernorm|norm)\.weight"
)
"""Of pi0: pi05 has no token of the state, and norms that the time modulates."""
_HEAD = "model.paligemma_with_expert.paligemma.lm_head.weight"
_WORDS = "model.paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"


def rename_openpi(files: PolicyFiles) -> Iterator[str]:
    """Gives openpi's names those that LeRobot's classes have."""
    policy_type = str(files.config.get("type"))
    if policy_type not in _TIME:
        return
    names = files.weight_names()
    names = sorted(set(names) - set(old_buffers(names)))
    renamed = [name for name in names if not name.startswith("model.")]
    tied = _WORDS not in names and bool({_HEAD, _HEAD.removeprefix("model.")} & set(names))
    if not renamed and not tied:
        return
    # An adapter is merged into what a policy has.
    files.weight_changes.insert(0, partial(_as_lerobot, policy_type))
    if renamed:
        yield (
            f"{files.weights_file}: {len(renamed)} tensors have openpi's names, e.g. {renamed[0]}; they were given "
            "those that LeRobot gives them while loading"
        )
    else:
        yield f"{files.weights_file}: {_WORDS} is left out; it was taken from lm_head.weight, as LeRobot does"


def _as_lerobot(policy_type: str, weights: Tensors) -> Tensors:
    named = {new: tensor for name, tensor in weights.items() if (new := _name(policy_type, name)) is not None}
    if _WORDS not in named and _HEAD in named:
        named[_WORDS] = named[_HEAD].clone()
    return named


def _name(policy_type: str, name: str) -> str | None:
    """A tensor's name in LeRobot; None where it has no place there."""
    if name.startswith("model."):
        return name
    if policy_type == "pi05" and _NOT_PI05.match(name):
        return None
    old, new = _TIME[policy_type]
    return f"model.{new}{name.removeprefix(old)}" if name.startswith(old) else f"model.{name}"
