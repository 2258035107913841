"""A policy that is an adapter over a base (PEFT): it is applied as LeRobot does it, and merged into the weights.

LeRobot takes the base that the adapter's configuration names; where that cannot be had, the weights beside the
adapter are taken for it. What comes out is an ordinary policy with ``use_peft`` off.
"""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lerobot.policies.pretrained import PreTrainedPolicy
from safetensors import safe_open
from safetensors.torch import load_file

from reflow.errors import MissingFileError, NotInstalledError, UserError
from reflow.files import read_json
from reflow.policies import stock
from reflow.policies.files import ADAPTER, ADAPTER_CONFIG, CONFIG, WEIGHTS, PolicyFiles, Tensors
from reflow.policies.folder import bare_policy
from reflow.policies.locate import descend, fetch_base
from reflow.policies.registry import get_adapter
from reflow.policies.weights import check_weights
from reflow.quiet import unprinted

_BASE = "base_model_name_or_path"
# What PEFT itself raises about a configuration or weights that it cannot use.
_REFUSALS = (ValueError, KeyError, TypeError, AttributeError, RuntimeError, NotImplementedError)


def apply_adapter(files: PolicyFiles) -> Iterator[str]:
    """Finds the base of an adapter, and lets it be merged when the weights are asked for."""
    there = (files.folder / ADAPTER).is_file() and (files.folder / ADAPTER_CONFIG).is_file()
    if not files.config.get("use_peft"):
        if there:
            files.doubts.append(
                f"{files.folder / ADAPTER} is not applied: {CONFIG} says use_peft: false, so LeRobot takes "
                f"{WEIGHTS} as it is; set use_peft to true if the adapter belongs to the policy"
            )
        return
    files.config["use_peft"] = False
    if not there:
        yield (
            f"{files.folder / CONFIG} says use_peft: true, but there is no adapter and {WEIGHTS} is there: the "
            "adapter was merged before; use_peft is off from here on, or LeRobot would look for an adapter"
        )
        return
    get_adapter(str(files.config.get("type")))  # or it would be merged for nothing
    settings = read_json(files.folder / ADAPTER_CONFIG)
    _check(files.folder, settings)
    files.weights_file, base = _find_base(files, settings)
    files.sources += [files.weights_file]
    files.dropped |= {ADAPTER, ADAPTER_CONFIG}
    files.weight_changes.append(lambda weights: _merged(files, weights))
    yield (
        f"{files.folder / ADAPTER} is an adapter over {base}: it was applied and merged into ordinary weights, "
        "and use_peft is off from here on"
    )


def _check(folder: Path, settings: dict[str, Any]) -> None:
    """What can be seen without loading the policy."""
    if importlib.util.find_spec("peft") is None:
        raise NotInstalledError(
            f"{folder} is an adapter over a base (use_peft: true in {CONFIG}), and applying it needs the package "
            "peft, which is not installed: pip install 'reflow[peft]'"
        )
    if not isinstance(settings, dict):
        raise UserError(f"{folder / ADAPTER_CONFIG} holds no JSON object; copy the adapter anew")
    if settings.get("megatron_config") is not None:
        raise UserError(
            f"{folder / ADAPTER_CONFIG} has megatron_config, and PEFT would import what megatron_core names "
            f"({settings.get('megatron_core')!r}); no policy of LeRobot needs it: set megatron_config to null"
        )
    with safe_open(folder / ADAPTER, "pt") as file:
        names = set(file.keys())
    for one, other in (("lora_A", "lora_B"), ("lora_B", "lora_A")):
        alone = sorted(name for name in names if f".{one}." in name and name.replace(one, other) not in names)
        if alone:
            raise UserError(
                f"{folder / ADAPTER} holds {len(alone)} tensors {one} without their {other}, e.g. {alone[0]}: "
                "half an adapter does nothing; save or copy it anew"
            )
    if settings.get("peft_type") == "LORA" and not (
        settings.get("target_modules") or settings.get("target_parameters")
    ):
        raise UserError(
            f"{folder / ADAPTER_CONFIG} names no target_modules, so nobody knows which layers the adapter is "
            "for; save it anew with LeRobot, which writes them"
        )


def _find_base(files: PolicyFiles, settings: dict[str, Any]) -> tuple[Path, str]:
    """The base's weights, and how to call them."""
    named = settings.get(_BASE)
    for candidate in (Path(str(named)).expanduser(), files.folder / str(named)) if named else ():
        weights = descend(candidate) / WEIGHTS
        if weights.is_file() and candidate.resolve() != files.folder.resolve():
            check_weights(weights)
            return weights.resolve(), str(named)
    if named and not Path(str(named)).is_absolute():
        copy = fetch_base(str(named), settings.get("revision"))
        if copy is not None and (copy / WEIGHTS).is_file():
            return copy / WEIGHTS, str(named)
    if files.weights_file is not None:
        return files.weights_file, f"{WEIGHTS} beside it ({_BASE}={named} is not to be had)"
    raise MissingFileError(
        f"{files.folder / ADAPTER_CONFIG} names {_BASE}={named}, which is neither a policy folder here nor given "
        f"by the Hugging Face hub, and there is no {WEIGHTS} beside it; set {_BASE} to the base's "
        f"pretrained_model folder, or put the base's {WEIGHTS} beside the adapter"
    )


def _merged(files: PolicyFiles, weights: Tensors) -> Tensors:
    """The weights with the adapter in them, by PEFT itself over LeRobot's own class."""
    try:
        from peft import PeftModel, get_peft_model_state_dict  # an extra: reflow[peft]
    except ImportError as error:
        raise NotInstalledError(
            f"{files.folder} needs the package peft, which is installed but does not import ({error}): pip "
            "install -U 'reflow[peft]'"
        ) from error
    policy = bare_policy(stock.config_from(files.config), files.folder)
    _load_base(files, policy, weights)
    try:
        # It warns of missing keys, which are refused here.
        with unprinted(), warnings.catch_warnings(action="ignore"):
            adapted = PeftModel.from_pretrained(policy, str(files.folder))
        have = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
        with safe_open(files.folder / ADAPTER, "pt") as file:
            saved = set(file.keys())
        _check_names(files.folder, have - saved, saved - have)
        merged = adapted.merge_and_unload(safe_merge=True)
    except _REFUSALS as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{files.folder / ADAPTER} cannot be applied to {files.weights_file} ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}); is it an adapter for this base, and one that can be merged?"
        ) from error
    with tempfile.TemporaryDirectory() as scratch:
        merged.save_pretrained(scratch)
        return load_file(Path(scratch, WEIGHTS))


def _load_base(files: PolicyFiles, policy: PreTrainedPolicy, weights: Tensors) -> None:
    what = f"{files.weights_file}, the base of the adapter in {files.folder}, does not fit {type(policy).__name__}"
    mend = f"{ADAPTER_CONFIG} may name another policy's base"
    try:
        # Not strict, as a tied weight may be missing; anything else would be a base of another policy.
        missing, unexpected = policy.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # other shapes
        raise UserError(f"{what}: {' '.join(str(error).split())[:300]}; {mend}") from error
    tied = _tied(policy)
    missing = [name for name in missing if name not in tied]
    if missing or unexpected:
        raise UserError(
            f"{what}: {len(missing)} missing keys {sorted(missing)[:4]}, {len(unexpected)} unexpected keys "
            f"{sorted(unexpected)[:4]}; {mend}"
        )


def _check_names(folder: Path, missing: set[str], unexpected: set[str]) -> None:
    if missing or unexpected:
        raise UserError(
            f"{folder / ADAPTER} is not the adapter that {ADAPTER_CONFIG} describes: {len(missing)} missing keys "
            f"{sorted(missing)[:4]}, {len(unexpected)} unexpected keys {sorted(unexpected)[:4]}; save or copy "
            "both anew"
        )


def _tied(policy: PreTrainedPolicy) -> set[str]:
    """Names of parameters that have another name as well."""
    every = policy.named_parameters(remove_duplicate=False)
    once = {name for name, _ in policy.named_parameters()}
    names = [(name, id(parameter)) for name, parameter in every]
    shared = {identity for name, identity in names if name not in once}
    return {name for name, identity in names if identity in shared}
