"""Normalisation inside the weights, where LeRobot kept it before it had processors.

With processors beside, LeRobot does not read it any more. Without, the processors are made of it by LeRobot's own
migration, whose functions are called here in memory.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from lerobot.utils.constants import ACTION, OBS_STATE
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from reflow.errors import UserError
from reflow.files import read_json
from reflow.policies import stock
from reflow.policies.backbones import source_of
from reflow.policies.files import PREPROCESSOR, PROCESSORS, WEIGHTS, PolicyFiles, Tensors
from reflow.policies.registry import get_adapter
from reflow.policies.whole import MIGRATE, old_buffers
from reflow.quiet import unprinted

_PREFIXED = re.compile(r"(normalize_inputs|normalize_targets|unnormalize_outputs)\.(.+)\.(buffer_.+)")


def take_out_buffers(files: PolicyFiles) -> Iterator[str]:
    """Takes normalisation out of the weights, and makes processors of it where there are none."""
    if not (names := old_buffers(files.weight_names())):
        return
    statistics = _statistics(files, names)
    files.weight_changes.insert(
        0, stock.remove_normalization_layers
    )  # an adapter is merged into what a policy has
    where = f"{files.weights_file}: the weights hold {len(names)} tensors of normalisation"
    if files.processors:
        files.doubts += [
            f"{files.weights_file}: {line}; LeRobot goes by the processors, and so does reflow"
            for line in _differences(files, statistics)
        ]
        yield f"{where}, e.g. {names[0]}, as an older LeRobot kept it; they are left out, as processors are beside"
        return
    _make_processors(files, statistics)
    yield f"{where}, as an older LeRobot kept it; the processors, which lack, were made of them by its migration"


def _statistics(files: PolicyFiles, names: Iterable[str]) -> dict[str, dict[str, Tensor]]:
    """What the weights say, by feature and statistic, as LeRobot's migration reads it."""
    assert files.weights_file is not None
    with safe_open(files.weights_file, "pt") as file:
        buffers = {name: file.get_tensor(name) for name in names}
    found = stock.extract_normalization_stats(_without_prefixes(files, buffers))
    # The migration takes every underscore for a dot; names of features may hold some.
    features = (*files.features("input_features"), *files.features("output_features"))
    true_names = {feature.replace("_", "."): feature for feature in features}
    return {true_names.get(name, name): values for name, values in found.items()}


def _without_prefixes(files: PolicyFiles, buffers: Tensors) -> Tensors:
    """``normalize_inputs.so100.buffer_...`` under the name that the migration knows, where there is one prefix."""
    matches = {name: _PREFIXED.fullmatch(name) for name in buffers}
    prefixes = sorted({match[2] for match in matches.values() if match})
    if len(prefixes) > 1 and not files.processors:
        raise UserError(
            f"{files.weights_file} holds normalisation of several robots, under the prefixes "
            f"{', '.join(prefixes)}; none of them is plainly the policy's. Fine-tune it on your data, which "
            "saves processors with their statistics"
        )
    return {
        f"{match[1]}.{match[3]}" if (match := matches[name]) and len(prefixes) == 1 else name: tensor
        for name, tensor in buffers.items()
    }


def _differences(files: PolicyFiles, statistics: dict[str, dict[str, Tensor]]) -> Iterator[str]:
    for name, tensors in files.statistics.items():
        for feature, values in statistics.items():
            for statistic, value in values.items():
                other = tensors.get(key := f"{feature}.{statistic}")
                if other is None or other.shape != value.shape or not torch.isfinite(value).all():
                    continue
                away = (value.double() - other.double()).abs().max().item()
                if away > 1e-6 * max(1.0, other.double().abs().max().item()):
                    yield f"{key} in the weights is up to {away:.3g} from that in {name}"


def _make_processors(files: PolicyFiles, statistics: dict[str, dict[str, Tensor]]) -> None:
    command = (
        f"{MIGRATE} {files.folder} --output-dir {files.folder.with_name(f'{files.folder.name}_migrated')} "
        "(without a network it fails at the model card, after the files are written: they are good)"
    )
    try:
        config = stock.config_from(files.config)
        for field in get_adapter(config.type).backbones:
            if (name := getattr(config, field, None)) is not None:
                setattr(config, field, source_of(files.folder, name))
        with unprinted():
            pipelines = stock.make_pre_post_processors(config, dataset_stats=statistics)
    except (ValueError, KeyError, TypeError, NotImplementedError, ImportError, OSError) as error:
        raise UserError(
            f"{files.folder} has no processors, and LeRobot makes none of its {WEIGHTS} "
            f"({type(error).__name__}: {' '.join(str(error).split())[:300]}); try {command}"
        ) from error
    with tempfile.TemporaryDirectory() as scratch:
        for pipeline in pipelines:
            pipeline.save_pretrained(scratch)
        for name in PROCESSORS:
            files.processors[name] = content = read_json(Path(scratch, name))
            for step in content["steps"]:
                if step.get("state_file"):
                    files.statistics[step["state_file"]] = load_file(Path(scratch, step["state_file"]))
    for step in files.steps(PREPROCESSOR, "device_processor"):
        # LeRobot wrote the device that it found on this machine; the policy's own is another thing.
        step["config"]["device"] = files.config.get("device") or step["config"]["device"]
    lacking = [key for key in (OBS_STATE, ACTION) if not _has(files, key)]
    if lacking:
        raise UserError(
            f"{files.folder} has no processors, and its {WEIGHTS} hold no statistics of {', '.join(lacking)} "
            f"that LeRobot's migration would find (found: {', '.join(statistics) or 'none'}); fine-tune the "
            f"policy on your data, which saves processors, or try {command}"
        )


def _has(files: PolicyFiles, feature: str) -> bool:
    kind = "ACTION" if feature == ACTION else "STATE"
    modes: dict[str, Any] = files.config.get("normalization_mapping") or {}
    if modes.get(kind) == "IDENTITY" or feature not in {
        *files.features("input_features"),
        *files.features("output_features"),
    }:
        return True
    return any(
        name.rpartition(".")[0].endswith(feature)
        for _, step in files.normalizers()
        for name in files.statistics.get(str(step.get("state_file")), {})
    )
