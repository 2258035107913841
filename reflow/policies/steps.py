"""The steps of a policy's processors: those of LeRobot's registry, with settings and state that it can use.

Asked before anything is loaded, and answered by file and step. Left out: whether their statistics fit the policy
(:mod:`reflow.policies.statistics`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reflow.errors import MissingFileError, UserError
from reflow.files import read_json
from reflow.policies import stock
from reflow.policies.files import RENAME
from reflow.policies.weights import check_weights


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
