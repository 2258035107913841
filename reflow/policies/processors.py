"""The policy's own processors: what turns a data set's frames into its inputs, and its outputs back.

They are loaded from the folder they were saved in, never rebuilt. What LeRobot lets pass is refused: a step
that names a class path instead of a registered step (that is code execution from JSON), and normalisation
statistics that are not there, or not numbers, or of another width (LeRobot then skips the normalisation, or
broadcasts).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.errors import UserError
from reflow.files import read_json
from reflow.policies.backbones import named_folders
from reflow.policies.base import FlowPolicy
from reflow.policies.files import POSTPROCESSOR, PREPROCESSOR, PROCESSORS, RENAME
from reflow.policies.foreign import about
from reflow.policies.hub_code import HubCodeError, hub_code_in
from reflow.policies.statistics import NEEDED, check_statistics
from reflow.policies.steps import check_steps
from reflow.policies.stock import (
    FeatureType,
    NormalizationMode,
    NormalizerProcessorStep,
    Pipeline,
    UnnormalizerProcessorStep,
    make_pre_post_processors,
    registered_name,
)


def load_processors(
    folder: Path, flow: FlowPolicy, device: str = "cpu", rename: Mapping[str, str] | None = None
) -> tuple[Pipeline, Pipeline]:
    """Pre- and post-processor as saved in ``folder``.

    Args:
        folder: a complete ``pretrained_model`` folder.
        flow: its policy.
        device: where the preprocessor leaves the batch.
        rename: from the data set's camera keys to the policy's, in the place of the map that was saved (an
            empty one for data that have the policy's keys); None keeps the saved one.

    Raises:
        UserError: a step outside LeRobot's registry, or statistics that
            :func:`reflow.policies.check_statistics` refuses, or that are missing for state or action.
    """
    for name in PROCESSORS:
        check_steps(folder / name, flow.config.type)
    with about(folder):
        check_statistics(folder)
    overrides: dict[str, dict[str, Any]] = {}
    for step in read_json(folder / PREPROCESSOR)["steps"]:
        name = step["registry_name"]
        if found := dict(named_folders(step, folder)):
            overrides[name] = found
        if name == "device_processor":
            overrides[name] = {"device": device}
        if name == RENAME and rename is not None:
            overrides[name] = {"rename_map": dict(rename)}
    try:
        pre, post = make_pre_post_processors(flow.config, str(folder), preprocessor_overrides=overrides)
    except (
        Exception
    ) as error:  # whatever its steps raise, they raise about these files; its words name the step
        if (refused := hub_code_in(error)) is not None:
            raise HubCodeError(f"{folder}: {refused}") from error
        raise UserError(
            f"{folder}: LeRobot cannot make the processors ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:500]}); correct {PREPROCESSOR} or {POSTPROCESSOR}, or copy the "
            "folder anew"
        ) from error
    if hasattr(flow.config, "tokenizer_max_length") and not any(
        step["registry_name"] == "tokenizer_processor" for step in read_json(folder / PREPROCESSOR)["steps"]
    ):
        raise UserError(
            f"{folder / PREPROCESSOR} has no step tokenizer_processor, so the policy would be told no task; copy the "
            "policy's folder anew, or save its processors again"
        )
    if flow.normalizers is not None:
        _check_own(folder, pre, flow.normalizers[0], (OBS_STATE, ACTION))
        _check_own(folder, post, flow.normalizers[1], (ACTION,))
        return pre, post
    _check_complete(folder, pre, NormalizerProcessorStep, (OBS_STATE, ACTION))
    _check_complete(folder, post, UnnormalizerProcessorStep, (ACTION,))
    return pre, post


def saved_rename(folder: Path) -> dict[str, str]:
    """The map from keys of the data to the policy's that a policy folder's own preprocessor has.

    Args:
        folder: a complete ``pretrained_model`` folder.
    """
    renames: dict[str, str] = {}
    for step in read_json(folder / PREPROCESSOR)["steps"]:
        if step.get("registry_name") == RENAME:
            renames |= step.get("config", {}).get("rename_map") or {}
    return renames


def save_new_processors(flow: FlowPolicy, statistics: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Writes the processors LeRobot makes for this policy and these data set statistics, with its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    flow.config._save_pretrained(folder)
    for pipeline in make_pre_post_processors(flow.config, dataset_stats=dict(statistics)):
        pipeline.save_pretrained(folder)


def _check_own(folder: Path, pipeline: Pipeline, name: str, keys: tuple[str, ...]) -> None:
    """A step of a policy's own that normalises: it has to be there, with statistics of these features."""
    have = [set(step.state_dict()) for step in pipeline.steps if registered_name(step) == name]
    lacking = [key for key in keys if not any(name.startswith(f"{key}.") for names in have for name in names)]
    if len(have) != 1 or lacking:
        raise UserError(
            f"{folder}: the processors have {len(have)} steps {name} with statistics of "
            f"{', '.join(key for key in keys if key not in lacking) or 'nothing'}; one is needed, with those of "
            f"{', '.join(keys)}, or values would not be normalised: save the teacher's processors with the "
            "statistics of its data set"
        )


def _check_left_out(folder: Path, step: Any, key: str) -> None:
    kind = FeatureType.ACTION if key == ACTION else FeatureType.STATE
    mode = step.norm_map.get(kind, NormalizationMode.IDENTITY)
    if mode is not NormalizationMode.IDENTITY:
        raise UserError(
            f"{folder}: {type(step).__name__} normalises {kind.value} ({mode.value}), but {key} is not among its "
            f"features ({', '.join(step.features) or 'none'}), and LeRobot would skip it in silence; copy the "
            "policy's folder anew, or save its processors again"
        )


def _check_complete(folder: Path, pipeline: Pipeline, kind: type, keys: tuple[str, ...]) -> None:
    steps: list[Any] = [step for step in pipeline.steps if isinstance(step, kind)]
    if not steps:
        raise UserError(
            f"{folder}: the processors have no {kind.__name__}; save the teacher again with LeRobot >= 0.4"
        )
    if len(steps) > 1:
        raise UserError(
            f"{folder}: the processors have {len(steps)} steps {kind.__name__}, so values would be normalised more "
            "than once; take out all but one"
        )
    for step in steps:
        have = step.state_dict()
        for key in keys:
            if key not in step.features:
                _check_left_out(folder, step, key)
                continue
            mode = step.norm_map.get(step.features[key].type, NormalizationMode.IDENTITY)
            missing = [f"{key}.{stat}" for stat in NEEDED[mode.value] if f"{key}.{stat}" not in have]
            if missing:
                raise UserError(
                    f"{folder}: normalisation statistics {', '.join(missing)} are missing ({mode.value}); LeRobot "
                    f"would skip the normalisation of {key} in silence. Present: {sorted(have) or 'none'}. "
                    "Save the teacher's processors with the statistics of its data set (a key with a prefix, "
                    "as in lerobot/smolvla_base, does not count, unless it is the only prefix)"
                )
