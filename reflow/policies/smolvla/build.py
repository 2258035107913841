"""A new, untrained policy folder: what a teacher of the demo, and a test, starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.policies.smolvla import SmolVLAFlow
from reflow.quiet import unprinted


def build_smolvla(
    vlm_folder: Path,
    *,
    state_dim: int,
    action_dim: int,
    cameras: Mapping[str, tuple[int, int, int]],
    **config: Any,
) -> SmolVLAFlow:
    """A SmolVLA from scratch around a local VLM folder, every part of it trainable.

    Args:
        vlm_folder: configuration and tokenizer of the VLM; its weights are drawn anew.
        state_dim: width of ``observation.state``.
        action_dim: real action width.
        cameras: ``observation.images.*`` key to (channels, height, width).
        config: further fields of ``SmolVLAConfig`` (chunk_size, resize_imgs_with_padding, ...).
    """
    features = {key: PolicyFeature(FeatureType.VISUAL, tuple(shape)) for key, shape in cameras.items()}
    defaults: dict[str, Any] = {
        "freeze_vision_encoder": False,  # from scratch, a frozen eye would stay random
        "train_expert_only": False,
        "load_vlm_weights": False,
        "push_to_hub": False,
        "device": "cpu",
    }
    with unprinted():
        policy = SmolVLAPolicy(
            SmolVLAConfig(
                vlm_model_name=str(vlm_folder),
                input_features={OBS_STATE: PolicyFeature(FeatureType.STATE, (state_dim,)), **features},
                output_features={ACTION: PolicyFeature(FeatureType.ACTION, (action_dim,))},
                **{**defaults, **config},
            )
        )
    return SmolVLAFlow(policy)
