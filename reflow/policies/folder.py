"""``pretrained_model`` folders: loaded, and written so that stock LeRobot loads them.

Only JSON and safetensors are read or written. LeRobot's ``from_pretrained`` merely warns about missing
weights; here both key lists must be empty. Writing is atomic: a folder is complete or not there.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from safetensors import SafetensorError
from safetensors.torch import load_model

from reflow.errors import MissingFileError, UserError
from reflow.files import as_os_error, flush, read_json, write_json
from reflow.policies import stock
from reflow.policies.backbones import carry, named_folders, source_of, stand_in_weights
from reflow.policies.base import FlowPolicy
from reflow.policies.files import CONFIG, PROCESSORS, WEIGHTS
from reflow.policies.hub_code import HubCodeError, hub_code_in
from reflow.policies.registry import get_adapter
from reflow.policies.rtc import RTC_CONFIG
from reflow.quiet import unprinted

# Properties of the run and not of the policy, by the value they are loaded with (None: told when it is loaded);
# what the source says is written back. A compiled sampler rounds differently, and a delivered chunk could not
# be compared.
_RUNTIME: dict[str, Any] = {"device": None, "compile_model": False}


def load_policy(folder: Path, device: str | torch.device = "cpu") -> FlowPolicy:
    """The policy in ``folder`` behind its adapter, in eval mode.

    Args:
        folder: a folder that :func:`reflow.policies.find_folder` found complete.
        device: where its weights go.

    Raises:
        UserError: no adapter for this policy type, or weights that do not fit the class.
        MissingFileError: its backbone is neither here nor on the hub.
    """
    policy_type = str(read_json(folder / CONFIG).get("type"))
    adapter = get_adapter(policy_type)
    policy = bare_policy(stock.read_config(folder), folder, str(device))
    _load_weights(policy, folder / WEIGHTS, str(device))
    return adapter(policy.to(device)).eval()


def bare_policy(config: PreTrainedConfig, folder: Path, device: str = "cpu") -> PreTrainedPolicy:
    """LeRobot's policy of a configuration, around the backbones of ``folder``; its weights are still to be loaded.

    Raises:
        MissingFileError: its backbone is neither here nor on the hub.
        UserError: LeRobot makes no policy of the configuration, or of its backbone's.
    """
    adapter = get_adapter(config.type)
    for field, value in {**_RUNTIME, **adapter.runtime, "device": device}.items():
        if hasattr(config, field):
            setattr(config, field, value)
    named = {field: getattr(config, field) for field in adapter.backbones if getattr(config, field, None)}
    for field, name in named.items():
        setattr(config, field, source_of(folder, str(name)))
    found = " and ".join(dict.fromkeys(getattr(config, field) for field in named))
    adapter.prepare(config, folder)
    try:
        with unprinted():
            return stock.get_policy_class(config.type)(config)
    except OSError as error:
        if not named:
            raise
        said = ", ".join(f"{field}={name}" for field, name in named.items())
        inside = " and ".join(str(folder / Path(str(name)).name) for name in named.values())
        raise MissingFileError(
            f"{folder / CONFIG} names {said}, which is neither a folder here nor given by the Hugging Face hub; put "
            f"that backbone's configuration and tokenizer into {inside}, or download it once while online"
        ) from error
    except (
        Exception
    ) as error:  # whatever the classes of policy and backbone raise, they raise about their files
        if (refused := hub_code_in(error)) is not None:
            raise HubCodeError(f"{folder}: {refused}") from error
        raise UserError(
            f"{folder / CONFIG}: LeRobot {stock.LEROBOT} makes no policy of it ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}); correct it, or the configuration and tokenizer of its backbone "
            f"in {found or folder}, or copy the folder anew"
        ) from error


def save_policy(flow: FlowPolicy, source: Path, folder: Path) -> Path:
    """Writes ``flow`` as an ordinary LeRobot policy folder, with the processors of ``source``.

    A backbone that is a local folder is copied beside the weights (without its own weights), and named by
    its absolute path, as stock LeRobot needs it. Hub ids stay hub ids.

    Args:
        flow: the policy to write; its configuration is written as it is, without real-time chunking.
        source: the folder whose processors (and normalisation statistics) it was trained with.
        folder: where to; an existing folder is replaced once the new one is complete.

    Returns:
        The folder.
    """
    folder = folder.resolve()

    def fill(staged: Path) -> None:
        flow.policy.save_pretrained(staged)
        config = read_json(staged / CONFIG)
        own = read_json(source / CONFIG)
        config |= {"device": None} | {
            field: own[field] for field in (*_RUNTIME, *flow.runtime) if field in own
        }
        config["pretrained_path"] = None
        if RTC_CONFIG in config:
            config[RTC_CONFIG] = None  # the robot's command line says how; see reflow.policies.rtc
        carried: dict[str, str] = {}  # from where a folder was to where it will be
        for field, inside in flow.backbones.items():
            name = getattr(flow.config, field, None)
            if name is not None and Path(name).is_dir():
                if str(name) not in carried:
                    carry(name, staged / inside)
                    carried[str(name)] = str(folder / inside)
                    if flow.wants_backbone_weights:
                        stand_in_weights(staged / inside)
                config[field] = carried[str(name)]
        write_json(staged / CONFIG, config)
        for name in PROCESSORS:
            processor = read_json(source / name)
            for step in processor["steps"]:
                if step.get("state_file"):
                    shutil.copy(source / step["state_file"], staged / step["state_file"])
                for field, found in named_folders(step, source):
                    if found not in carried:
                        inside = field.removesuffix("_name").removesuffix("_path")
                        carry(found, staged / inside)
                        carried[found] = str(folder / inside)
                    step["config"][field] = carried[found]
            write_json(staged / name, processor)

    replace_folder(folder, fill)
    return folder


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fills a sibling of ``folder``, flushes it to disk, then puts it in place by renaming.

    Killed at any moment, ``folder`` is the old one, the new one, or (between two renames) the old one
    under ``.<name>.old``; it is never half of one.
    """
    staged, old = (folder.with_name(f".{folder.name}.{kind}") for kind in ("partial", "old"))
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        with as_os_error():
            fill(staged)
        allowed = staged.stat().st_mode & 0o666
        for entry in (*staged.rglob("*"), staged):
            if entry.is_file() and not entry.is_symlink():
                entry.chmod(allowed)  # safetensors lets nobody else read what it writes
            if entry.exists():  # no link to what is gone
                flush(entry)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    staged.rename(folder)
    flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def fingerprint(folder: Path) -> str:
    """SHA-256 over a policy folder's JSON and safetensors files, names and contents."""
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.iterdir() if file.suffix in (".json", ".safetensors")):
        digest.update(file.name.encode())
        with open(file, "rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def _load_weights(policy: PreTrainedPolicy, file: Path, device: str) -> None:
    what = f"{file} does not fit {type(policy).__name__}"
    mend = "was it saved by another LeRobot version or another config.json, or not copied to its end?"
    try:
        missing, unexpected = load_model(policy, file, strict=False, device=device)
    except (RuntimeError, SafetensorError) as error:  # other shapes, or half a file
        raise UserError(f"{what}: {' '.join(str(error).split())[:300]}; {mend}") from error
    if missing or unexpected:
        raise UserError(
            f"{what}: {len(missing)} missing keys {sorted(missing)[:4]}, {len(unexpected)} unexpected keys "
            f"{sorted(unexpected)[:4]}; {mend}"
        )
    for name, tensor in policy.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise UserError(
                f"{file}: {name} holds {bad} value{'s' * (bad != 1)} that {'is' if bad == 1 else 'are'} NaN or "
                "infinite, and so would be every action; its training diverged, or the file was damaged: take an "
                "earlier checkpoint, or copy it anew"
            )
