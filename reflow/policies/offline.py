"""Everything that a policy's files name by a hub id, as folders on this machine: so that it loads without a network.

The policy's own folder stays as it is. What is made is one of links to its files, in which its configuration and its
processors name folders. Left out: copying those beside the weights, which :func:`reflow.policies.save_policy` does.
"""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import snapshot_download

from reflow.errors import MissingFileError
from reflow.files import read_json, write_json
from reflow.hub import REFUSALS, refusal
from reflow.policies.backbones import IGNORED, source_of
from reflow.policies.files import CONFIG, PROCESSORS
from reflow.policies.registry import get_adapter

_STEP_FIELDS = ("tokenizer_name", "processor_name")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def without_hub(folder: Path, place: Path) -> Path:
    """A policy's folder in which no backbone and no tokenizer is named by a hub id.

    Args:
        folder: of the policy, complete.
        place: where to make another, where one is needed; it is not there yet. What the hub gives goes to its cache.

    Returns:
        ``folder`` itself, where it names none.

    Raises:
        MissingFileError: one is neither in the hub's cache nor given by it now.
    """
    config = read_json(folder / CONFIG)
    processors = {name: read_json(folder / name) for name in PROCESSORS}
    fetched: dict[str, str] = {}

    def local(name: str) -> str:
        if name not in fetched:
            fetched[name] = _fetch(name, folder)
        return fetched[name]

    for field in get_adapter(str(config.get("type"))).backbones:
        name = config.get(field)
        if isinstance(name, str) and _of_hub(name, folder):
            config[field] = local(name)
    for step in (step for content in processors.values() for step in content["steps"]):
        own = step.get("config") or {}
        for field, value in own.items():
            if (
                isinstance(value, str)
                and (field in _STEP_FIELDS or value in fetched)
                and _of_hub(value, folder)
            ):
                own[field] = local(value)
    if not fetched:
        return folder
    place.mkdir(parents=True)
    for entry in folder.iterdir():
        if entry.name not in (CONFIG, *PROCESSORS):
            (place / entry.name).symlink_to(entry.resolve())
    write_json(place / CONFIG, config)
    for file, content in processors.items():
        write_json(place / file, content)
    return place


def _of_hub(name: str, folder: Path) -> bool:
    return not Path(source_of(folder, name)).is_dir() and _HUB_ID.fullmatch(name) is not None


def _fetch(name: str, folder: Path) -> str:
    try:
        return snapshot_download(name, ignore_patterns=list(IGNORED))
    except REFUSALS as error:
        raise MissingFileError(
            f"{folder} names {name}, which is neither in the cache of the Hugging Face hub here nor given by it now "
            f"({refusal(error)}); a bundle holds its configuration and tokenizer: say the command once while "
            f"online, and with the rights to {name}"
        ) from error
