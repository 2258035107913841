"""A configuration that LeRobot reads, and that no policy can be made of: nothing to change, only to refuse.

LeRobot's parser takes null for any number, and never asks whether a shape is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.errors import UserError
from reflow.policies import stock
from reflow.policies.files import CONFIG, PolicyFiles

_COUNTS = (
    *("chunk_size", "horizon", "n_action_steps", "n_obs_steps"),
    *("num_steps", "num_inference_steps", "num_integration_steps", "num_denoise_steps"),
    *("num_inference_timesteps", "num_denoising_steps"),
    *("max_state_dim", "max_action_dim"),
)
_ABOVE_ZERO = ("min_period", "max_period", "expert_width_multiplier")
_DIMENSIONS = {"STATE": 1, "ACTION": 1, "VISUAL": 3}


def check_sense(files: PolicyFiles) -> Iterator[str]:
    """Refuses numbers and features that no policy of the kind can have, each by its key.

    Args:
        files: of a policy; LeRobot reads its configuration.

    Raises:
        UserError: names file, key, value and what is allowed.
    """
    config = files.config
    wrong = [
        *_numbers(config),
        *_features(files, "input_features", (OBS_STATE,)),
        *_features(files, "output_features", (ACTION,)),
        *_device(config),
    ]
    kinds = [feature.get("type") for feature in files.features("input_features").values()]
    if "VISUAL" not in kinds:
        wrong.append("input_features has no camera (a feature of type VISUAL), and LeRobot runs none without")
    if wrong:
        raise UserError(
            f"{files.folder / CONFIG}: {'; '.join(wrong)}. Correct it, or copy the policy's folder anew"
        )
    yield from ()


def _numbers(config: dict[str, Any]) -> Iterator[str]:
    kind = stock.config_class(str(config.get("type")))
    for key in _COUNTS:
        if (
            config.get(key, 0) is None and getattr(kind, key, 0) is None
        ):  # LeRobot's own default, for what is not set
            continue
        if key in config and not ((value := _number(config[key])) >= 1 and value == int(value)):
            yield f"{key} is {config[key]!r}; allowed: 1 or more"
    for key in _ABOVE_ZERO:
        if key in config and not _number(config[key]) > 0:
            yield f"{key} is {config[key]!r}; allowed: a number above 0"
    size = config.get("resize_imgs_with_padding")
    if isinstance(size, list) and not all(_number(side) >= 1 for side in size):
        yield f"resize_imgs_with_padding is {size}; allowed: [width, height] in pixels"


def _number(value: Any) -> float:
    """As LeRobot's parser reads it, "10" as well as 10; nan for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _features(files: PolicyFiles, which: str, needed: tuple[str, ...]) -> Iterator[str]:
    features = files.features(which)
    for key in needed:
        if key not in features:
            yield f"{which} has no {key}, which every policy that is distilled here has"
    for key, feature in features.items():
        shape, dimensions = feature.get("shape"), _DIMENSIONS.get(str(feature.get("type")))
        whole = isinstance(shape, list) and all(isinstance(size, int) and size > 0 for size in shape)
        if not whole or dimensions not in (None, len(shape or ())):
            sizes = f"{dimensions} whole numbers" if dimensions != 1 else "one whole number, as in [14]"
            yield f"the shape of {key} in {which} is {shape!r}; allowed: {sizes if dimensions else 'whole numbers'}"


def _device(config: dict[str, Any]) -> Iterator[str]:
    device = config.get("device")
    try:
        if not isinstance(device, (str, type(None))):
            raise TypeError(device)
        torch.device(device or "cpu")
    except (RuntimeError, TypeError):
        yield f"device is {device!r}; allowed: null, or a device as torch calls it (cpu, cuda, mps)"
