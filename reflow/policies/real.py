"""Policies as large as people use them, without weights: to count parameters, on torch's meta device.

LeRobot's own classes are made of LeRobot's own defaults, with backbones of the published sizes. Nothing is downloaded
and no memory is taken. Left out: everything that needs numbers; such a policy cannot be asked for a velocity.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from reflow.policies import stock
from reflow.policies.backbone_sizes import (
    clip_b16,
    florence2_large,
    gr00t_n1_7,
    internvl3_1b,
    qwen2_5_vl_3b,
    qwen3_vl_2b,
    smolvlm2_500m,
)
from reflow.policies.base import FlowPolicy
from reflow.policies.registry import get_adapter
from reflow.quiet import unprinted

JOINTS = 14
CAMERA = (3, 480, 640)


@dataclass(frozen=True)
class RealSize:
    """A policy as it is published.

    Attributes:
        policy_type: LeRobot's name.
        backbones: fields of its configuration that name a backbone, each with what writes that backbone's
            configuration and a tokenizer into a folder.
        fields: of its configuration, where LeRobot's default is not what is meant.
    """

    policy_type: str
    backbones: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)


REAL = {
    size.policy_type: size
    for size in (
        RealSize("smolvla", {"vlm_model_name": smolvlm2_500m}, {"load_vlm_weights": False}),
        RealSize("pi0"),
        RealSize("pi05"),
        RealSize(
            "multi_task_dit",
            {"vision_encoder_name": clip_b16, "text_encoder_name": clip_b16},
            {"objective": "flow_matching"},
        ),
        RealSize("evo1", {"vlm_model_name": internvl3_1b}, {"vlm_dtype": "float32", "use_flash_attn": False}),
        RealSize("eo1", {"vlm_base": qwen2_5_vl_3b}, {"dtype": "float32", "attn_implementation": "eager"}),
        RealSize("groot", {"base_model_path": gr00t_n1_7}),
        RealSize("vla_jepa", {"qwen_model_name": qwen3_vl_2b}, {"enable_world_model": False}),
        RealSize("xvla", {}, {"florence_config": florence2_large(), "action_mode": "auto"}),
    )
}
"""By LeRobot's name of the policy."""


def without_weights(policy_type: str) -> FlowPolicy:
    """A policy of the published size behind its adapter, on the meta device.

    Args:
        policy_type: one of :data:`REAL`.

    Raises:
        NotInstalledError: a package is missing that it needs.
    """
    real, adapter = REAL[policy_type], get_adapter(policy_type)
    kind = stock.config_class(policy_type)
    assert kind is not None  # it has an adapter
    with tempfile.TemporaryDirectory() as scratch, unprinted():
        named: dict[str, str] = {}
        for name, write in real.backbones.items():
            folder = Path(scratch, f"clip_{name}")  # a name that LeRobot's checks of a CLIP let pass
            folder.mkdir()
            write(folder)
            named[name] = str(folder)
        config = kind(
            input_features={
                OBS_STATE: PolicyFeature(FeatureType.STATE, (JOINTS,)),
                f"{OBS_IMAGES}.top": PolicyFeature(FeatureType.VISUAL, CAMERA),
            },
            output_features={ACTION: PolicyFeature(FeatureType.ACTION, (JOINTS,))},
            device="cpu",
            push_to_hub=False,
            **real.fields,
            **named,
        )
        config.device = "meta"
        with torch.device("meta"), _configurations_alone():
            return adapter(stock.get_policy_class(policy_type)(config))


@contextlib.contextmanager
def _configurations_alone() -> Iterator[None]:
    """``from_pretrained`` of transformers makes what a configuration says, and looks for no weights."""
    from transformers import AutoConfig, PreTrainedModel  # costly to import, and only counted with
    from transformers.models.auto.auto_factory import _BaseAutoModelClass

    def own(cls: Any, name: Any, *_: Any, **kwargs: Any) -> Any:
        config = cls.config_class.from_pretrained(name)
        return cls._from_config(config)

    def auto(cls: Any, name: Any, *_: Any, **kwargs: Any) -> Any:
        return cls.from_config(AutoConfig.from_pretrained(name))

    checked = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)  # a check would look at numbers
    try:
        with (
            patch.object(PreTrainedModel, "from_pretrained", classmethod(own)),
            patch.object(_BaseAutoModelClass, "from_pretrained", classmethod(auto)),
        ):
            yield
    finally:
        torch.distributions.Distribution.set_default_validate_args(checked)
