"""Are a policy's files whole? Asked before anything is loaded, and answered by the name of the file.

Left out: whether what they say fits together (:mod:`reflow.policies.mending`, :mod:`reflow.policies.statistics`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from safetensors import safe_open

from reflow.errors import MissingFileError, UserError
from reflow.files import read_json
from reflow.policies import stock
from reflow.policies.backbones import named_folders
from reflow.policies.files import (
    ADAPTER,
    ADAPTER_CONFIG,
    CONFIG,
    POSTPROCESSOR,
    PREPROCESSOR,
    PROCESSORS,
    WEIGHTS,
)
from reflow.policies.steps import check_steps
from reflow.policies.sums import check_sums
from reflow.policies.weights import check_weights, refuse_pointer

_OLD_MODULES = {
    *("normalize_inputs", "normalize_targets", "unnormalize_outputs", "unnormalize_targets"),
    *("normalize", "unnormalize", "input_normalizer", "output_normalizer"),
}
MIGRATE = "python -m lerobot.processor.migrate_policy_normalization --pretrained-path"


def check_whole(folder: Path, said: str) -> None:
    """Refuses a policy folder whose files cannot be read, each by its name.

    Args:
        folder: of the policy.
        said: how the user called it (``teacher.path=...``), for errors.

    Raises:
        MissingFileError: files are missing in it.
        UserError: a file is cut short, not what was written (:mod:`reflow.policies.sums`) or a git-lfs pointer, or a
            processor's step is none of LeRobot's registry.
    """
    for file in _there(folder):
        _check_file(file)
    _check_complete(folder, said)
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise UserError(f"{folder / CONFIG} holds no JSON object; copy the policy's folder anew")
    for _, backbone in named_folders({"config": config}, folder):
        for file in _there(Path(backbone)):
            if file.suffix == ".json":  # of its weights nothing is read
                _check_file(file)
    for name in PROCESSORS:
        if (folder / name).is_file():
            check_steps(folder / name, str(config.get("type")))
    check_sums(folder, said)


def _there(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        files = (file for file in folder.iterdir() if file.suffix in (".json", ".safetensors"))
        yield from sorted(file for file in files if file.is_file())


def _check_file(file: Path) -> None:
    if file.suffix == ".safetensors":
        check_weights(file)
        return
    refuse_pointer(file)
    read_json(file)


def _check_complete(folder: Path, said: str) -> None:
    needed = [CONFIG, WEIGHTS, *PROCESSORS]
    adapter = (folder / ADAPTER).is_file() or (folder / ADAPTER_CONFIG).is_file()
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    adapted = adapter and isinstance(config, dict) and bool(config.get("use_peft"))
    if adapted:
        needed = [CONFIG, ADAPTER, ADAPTER_CONFIG, *PROCESSORS]
    missing = [name for name in needed if not (folder / name).is_file()]
    if set(missing) == set(PROCESSORS) and _normalises(folder / WEIGHTS):
        return  # they are made from the weights
    if not missing:
        return
    ways = f"A folder of an older LeRobot: {MIGRATE} {folder}"
    if adapted:
        ways = f"{CONFIG} says use_peft: true, so the adapter has to be there too"
    elif adapter and missing == [WEIGHTS]:
        ways = f"{ADAPTER} is there: if this is an adapter, set use_peft to true in {CONFIG}"
    raise MissingFileError(
        f"{said} is incomplete: {', '.join(missing)} missing; it needs {CONFIG}, {WEIGHTS}, "
        f"{PREPROCESSOR} and {POSTPROCESSOR}, as LeRobot >= 0.4 saves them in checkpoints/*/pretrained_model. {ways}"
    )


def _normalises(weights: Path) -> bool:
    if not weights.is_file():
        return False
    with safe_open(weights, "pt") as file:
        return bool(old_buffers(file.keys()))


def old_buffers(names: Iterable[str]) -> list[str]:
    """Names of the weights that are normalisation, as LeRobot before its processors kept them there.

    LeRobot's migration takes all that it removes for that; a policy of today may well have a ``normalizer`` of
    its own deeper inside, which is a part of it.
    """
    names = list(names)
    kept = stock.remove_normalization_layers(dict.fromkeys(names))
    return [name for name in names if name not in kept and name.partition(".")[0] in _OLD_MODULES]
