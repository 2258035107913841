"""The policy's own processors: what turns a data set's frames into its inputs, and its outputs back.

They are loaded from the folder they were saved in, never rebuilt. Two things LeRobot lets pass are
refused here: a step that names a class path instead of a registered step (that is code execution
from JSON), and normalisation statistics that are not there (LeRobot then skips the normalisation).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lerobot.configs import NormalizationMode
from lerobot.policies.factory import make_pre_post_processors
from lerobot.processor import DataProcessorPipeline, NormalizerProcessorStep, UnnormalizerProcessorStep
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.errors import UserError
from reflow.files import read_json
from reflow.policies.base import FlowPolicy
from reflow.policies.folder import POSTPROCESSOR, PREPROCESSOR, vlm_source

type Pipeline = DataProcessorPipeline[Any, Any]

_NEEDED = {
    NormalizationMode.IDENTITY: (),
    NormalizationMode.MEAN_STD: ("mean", "std"),
    NormalizationMode.MIN_MAX: ("min", "max"),
    NormalizationMode.QUANTILES: ("q01", "q99"),
    NormalizationMode.QUANTILE10: ("q10", "q90"),
}


def load_processors(
    folder: Path, flow: FlowPolicy, device: str = "cpu", rename: dict[str, str] | None = None
) -> tuple[Pipeline, Pipeline]:
    """Pre- and post-processor as saved in ``folder``.

    Args:
        folder: a complete ``pretrained_model`` folder.
        flow: its policy.
        device: where the preprocessor leaves the batch.
        rename: from the data set's camera keys to the policy's.

    Raises:
        UserError: a step outside LeRobot's registry, or statistics missing for state or action.
    """
    overrides: dict[str, dict[str, Any]] = {}
    for name in (PREPROCESSOR, POSTPROCESSOR):
        for number, step in enumerate(read_json(folder / name)["steps"]):
            if "registry_name" not in step:
                raise UserError(
                    f"{folder / name}: step {number} names the class {step.get('class')!r}; only steps of "
                    "LeRobot's registry are loaded, because a class path in JSON can run any code"
                )
            if name == PREPROCESSOR:
                config = step.get("config", {})
                if step["registry_name"] == "tokenizer_processor" and "tokenizer_name" in config:
                    source = vlm_source(folder, config["tokenizer_name"])
                    overrides["tokenizer_processor"] = {"tokenizer_name": source}
                if step["registry_name"] == "device_processor":
                    overrides["device_processor"] = {"device": device}
                if step["registry_name"] == "rename_observations_processor" and rename:
                    overrides["rename_observations_processor"] = {"rename_map": rename}
    pre, post = make_pre_post_processors(flow.config, str(folder), preprocessor_overrides=overrides)
    _check_statistics(folder, pre, NormalizerProcessorStep, (OBS_STATE, ACTION))
    _check_statistics(folder, post, UnnormalizerProcessorStep, (ACTION,))
    return pre, post


def save_new_processors(flow: FlowPolicy, statistics: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Writes the processors LeRobot makes for this policy and these data set statistics, with its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    flow.config._save_pretrained(folder)
    for pipeline in make_pre_post_processors(flow.config, dataset_stats=dict(statistics)):
        pipeline.save_pretrained(folder)


def _check_statistics(folder: Path, pipeline: Pipeline, kind: type, keys: tuple[str, ...]) -> None:
    steps: list[Any] = [step for step in pipeline.steps if isinstance(step, kind)]
    if not steps:
        raise UserError(
            f"{folder}: the processors have no {kind.__name__}; save the teacher again with LeRobot >= 0.4"
        )
    for step in steps:
        have = step.state_dict()
        for key in keys:
            if key not in step.features:
                continue
            mode = step.norm_map.get(step.features[key].type, NormalizationMode.IDENTITY)
            missing = [f"{key}.{stat}" for stat in _NEEDED[mode] if f"{key}.{stat}" not in have]
            if missing:
                raise UserError(
                    f"{folder}: normalisation statistics {', '.join(missing)} are missing ({mode.value}); LeRobot "
                    f"would skip the normalisation of {key} in silence. Present: {sorted(have) or 'none'}. "
                    "Save the teacher's processors with the statistics of its data set (a key with a prefix, "
                    "as in lerobot/smolvla_base, does not count)"
                )
