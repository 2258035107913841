"""Changing the files of a policy folder, as people and other programs do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from reflow.policies.files import POSTPROCESSOR, PREPROCESSOR, PROCESSORS, WEIGHTS

STATES = {
    PREPROCESSOR: "policy_preprocessor_step_5_normalizer_processor.safetensors",
    POSTPROCESSOR: "policy_postprocessor_step_0_unnormalizer_processor.safetensors",
}


def edit(file: Path, **changes: object) -> None:
    """Sets keys of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change(file: Path, how: Callable[[dict[str, Any]], object]) -> None:
    """Lets a function change what a JSON file holds."""
    content = json.loads(file.read_text())
    how(content)
    file.write_text(json.dumps(content))


def change_tensors(file: Path, how: Callable[[dict[str, Tensor]], dict[str, Tensor] | None]) -> None:
    """Likewise a file of tensors."""
    tensors = load_file(file)
    changed = how(tensors)
    save_file({key: value.clone().contiguous() for key, value in (changed or tensors).items()}, file)


def change_statistics(
    folder: Path, how: Callable[[dict[str, Tensor]], dict[str, Tensor] | None], *names: str
) -> None:
    """Likewise the statistics of these processors; of both, where none is named."""
    for name in names or PROCESSORS:
        change_tensors(folder / STATES[name], how)


def change_weights(folder: Path, how: Callable[[dict[str, Tensor]], dict[str, Tensor] | None]) -> None:
    """Likewise the weights."""
    change_tensors(folder / WEIGHTS, how)


def step(content: dict[str, Any], registry_name: str) -> dict[str, Any]:
    """The one step of this name in a processor's JSON."""
    (found,) = (step for step in content["steps"] if step["registry_name"] == registry_name)
    return found


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files below a folder, to see later that none was touched."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
