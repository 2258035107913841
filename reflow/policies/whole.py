"""Are a policy's files whole? Asked before anything is loaded, and answered by the name of the file.

Left out: whether what they say fits together (:mod:`reflow.policies.mending`, :mod:`reflow.policies.statistics`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

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
    RENAME,
    WEIGHTS,
)
from reflow.policies.sums import check_sums

_OLD_MODULES = {
    *("normalize_inputs", "normalize_targets", "unnormalize_outputs", "unnormalize_targets"),
    *("normalize", "unnormalize", "input_normalizer", "output_normalizer"),
}
_KINDS = (
    *("F64", "F32", "F16", "BF16"),
    *("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"),
)
_POINTER = b"version https://git-lfs"
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


def check_steps(file: Path, policy_type: str) -> None:
    """Refuses a processor with a step that LeRobot does not know, or that makes other actions than are distilled.

    Args:
        file: the processor's JSON.
        policy_type: LeRobot's name for the policy.

    Raises:
        UserError: names file and step.
        MissingFileError: a step's state is not beside it.
    """
    for number, step in enumerate(_steps(file)):
        _check_step(file, number, step, policy_type)


def check_weights(file: Path) -> None:
    """Refuses a safetensors file that is cut short, or a pointer to one, or holds numbers that no policy has."""
    with open(file, "rb") as handle:
        _refuse_pointer(file, handle.read(len(_POINTER)))
    try:
        with safe_open(file, "pt") as opened:
            kinds = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise UserError(
            f"{file} is no whole safetensors file ({error}); it may be cut short: copy or download it anew"
        ) from error
    _refuse_kinds(file, kinds)


def _refuse_kinds(file: Path, kinds: Mapping[str, str]) -> None:
    for name, kind in kinds.items():
        if kind not in _KINDS:
            raise UserError(
                f"{file}: {name} is of type {kind}; allowed: {', '.join(_KINDS)}. Save the policy in one of these"
            )


def _there(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        files = (file for file in folder.iterdir() if file.suffix in (".json", ".safetensors"))
        yield from sorted(file for file in files if file.is_file())


def _check_file(file: Path) -> None:
    if file.suffix == ".safetensors":
        check_weights(file)
        return
    with open(file, "rb") as handle:
        _refuse_pointer(file, handle.read(len(_POINTER)))
    read_json(file)


def _refuse_pointer(file: Path, head: bytes) -> None:
    if head == _POINTER:
        raise UserError(
            f"{file} is a git-lfs pointer, not the file itself; fetch it with `git lfs pull` in {file.parent}, or "
            "download the policy from the hub again"
        )


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


def _steps(file: Path) -> list[dict[str, Any]]:
    content = read_json(file)
    steps = content.get("steps") if isinstance(content, dict) else None
    if not isinstance(steps, list) or not all(
        isinstance(step, dict) and isinstance(step.get("config", {}), dict) for step in steps
    ):
        raise UserError(f'{file} holds no list of "steps"; copy the policy\'s folder anew')
    return steps


def _check_step(file: Path, number: int, step: dict[str, Any], policy_type: str) -> None:
    name = step.get("registry_name")
    if name is None:
        raise UserError(
            f"{file}: step {number} names the class {step.get('class')!r}; only steps of "
            "LeRobot's registry are loaded, because a class path in JSON can run any code"
        )
    if stock.step_class(name) is None:
        installed = ", ".join(stock.plugins_installed()) or "none"
        raise UserError(
            f"{file}: step {number} is {name!r}, which LeRobot {stock.LEROBOT} does not know; install the "
            "package that registers it (LeRobot imports by itself what is installed under a name like "
            f"{stock.PLUGINS}; installed here: {installed}), or take the step out if the policy does not need it"
        )
    _check_settings(file, number, step)
    state = step.get("state_file")
    if state is not None and (not isinstance(state, str) or Path(state).name != state):
        raise UserError(
            f"{file}: step {number} ({name}) keeps its state in state_file={state!r}; allowed: the name of a file "
            "beside it, or null"
        )
    if state and not (file.parent / state).is_file():
        raise MissingFileError(
            f"{file}: step {number} ({name}) keeps its state in {state}, which is missing in {file.parent}; copy the "
            "policy's folder anew"
        )
    if state:
        check_weights(file.parent / state)
    _check_relative(file, number, step, policy_type)


def _check_settings(file: Path, number: int, step: dict[str, Any]) -> None:
    """What LeRobot takes as it is, and stumbles over at the first observation."""
    name, config = step["registry_name"], step.get("config") or {}
    where = f"{file}: step {number} ({name})"
    renames = config.get("rename_map") if name == RENAME else None
    if renames is not None and not (
        isinstance(renames, dict) and all(isinstance(value, str) for value in renames.values())
    ):
        raise UserError(
            f"{where} has rename_map={renames!r}; allowed: an object of names, theirs to the policy's"
        )
    if name == "tokenizer_processor" and not isinstance(config.get("tokenizer_name"), str):
        raise UserError(
            f"{where} has tokenizer_name={config.get('tokenizer_name')!r}; allowed: the name of a folder with a "
            "tokenizer, or of one on the Hugging Face hub, as vlm_model_name in config.json"
        )
    if name == "device_processor" and config.get("float_dtype") not in (None, "float32"):
        raise UserError(
            f"{where} has float_dtype={config['float_dtype']!r}, but LeRobot computes this policy in float32; set "
            "it to null"
        )


def _check_relative(file: Path, number: int, step: dict[str, Any], policy_type: str) -> None:
    """Steps that turn actions into another kind of actions: only absolute ones are distilled."""
    name, config = step["registry_name"], step.get("config") or {}
    where = f"{file}: step {number} is {name!r}"
    if name in ("relative_actions_processor", "absolute_actions_processor") and config.get("enabled"):
        kind = stock.config_class(policy_type)
        supported = kind is not None and "use_relative_actions" in stock.fields_of(kind)
        reason = (
            "LeRobot adds to its chunk the state that its preprocessor saw last, which is not the state of every "
            "observation that reflow compares at once"
            if supported
            else f"LeRobot's {policy_type} has no use_relative_actions: it was not trained on them"
        )
        raise UserError(
            f"{where}, enabled: actions relative to the state are not supported here for policies of type "
            f"{policy_type} ({reason}); give a teacher of absolute actions"
        )
    if name in ("map_tensor_to_delta_action_dict", "map_delta_action_to_robot_action"):
        raise UserError(
            f"{where}, which makes of one action the deltas of an arm's hand, as teleoperation does; no policy "
            "type of LeRobot acts in chunks of them: take the step out of the policy's processors"
        )
