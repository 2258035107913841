"""A VLA-JEPA of a few thousand parameters: Qwen3-VL, an action head, and the world model that no action reads."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.vla_jepa import modeling_vla_jepa
from lerobot.policies.vla_jepa.configuration_vla_jepa import VLAJEPAConfig
from lerobot.policies.vla_jepa.modeling_vla_jepa import VLAJEPAPolicy
from transformers import VJEPA2Config, VJEPA2Model, VJEPA2VideoProcessor

from reflow.policies import FlowPolicy
from reflow.policies.vla_jepa import VLAJEPAFlow
from tests.builders import HEIGHT, TOP, WIDTH
from tests.contract.builders.qwen import make_qwen_folder
from tests.contract.cases import Case, over_all

PROMPT = "Your task is {instruction}. Frames {actions}, actions {e_actions}."


def make(scratch: Path, **config: Any) -> FlowPolicy:
    """A small untrained policy in eval mode, every weight wide; ``config``: further fields of ``VLAJEPAConfig``."""
    small: dict[str, Any] = {
        "input_features": {
            "observation.state": PolicyFeature(FeatureType.STATE, (14,)),
            TOP: PolicyFeature(FeatureType.VISUAL, (3, HEIGHT, WIDTH)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (14,))},
        "chunk_size": 8,
        "n_action_steps": 8,
        "prompt_template": PROMPT,
        "num_action_tokens_per_timestep": 1,
        "num_embodied_action_tokens_per_instruction": 4,
        "num_video_frames": 4,
        "action_model_type": "DiT-test",
        "action_hidden_size": 16,
        "action_num_layers": 2,
        "predictor_depth": 1,
        "predictor_num_heads": 2,
        "torch_dtype": "float32",
        "device": "cpu",
        "push_to_hub": False,
    }
    small |= config
    qwen = make_qwen_folder(scratch / "qwen3_vl", "Qwen3VL", corpus=[PROMPT], tied=True)
    eye = make_vjepa(scratch / "vjepa2")
    policy = VLAJEPAPolicy(VLAJEPAConfig(qwen_model_name=str(qwen), jepa_encoder_name=str(eye), **small))
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if parameter.ndim > 1 and "embed_tokens" not in name:
                parameter.normal_(std=1.5 * parameter[0].numel() ** -0.5)
    return VLAJEPAFlow(policy).eval()


def make_vjepa(folder: Path) -> Path:
    """A folder with a small V-JEPA 2: configuration, weights, video processor."""
    config = VJEPA2Config(
        crop_size=32,
        frames_per_clip=4,
        hidden_size=24,
        num_attention_heads=2,
        num_hidden_layers=1,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
        pred_num_mask_tokens=1,
    )
    VJEPA2Model(config).save_pretrained(folder)
    VJEPA2VideoProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder
    )
    return folder


def in_float32() -> AbstractContextManager[object]:
    """In here Qwen is run as precisely as its weights are; LeRobot runs it in bfloat16, on a processor too."""
    return patch.object(modeling_vla_jepa, "_get_autocast_context", lambda *_: nullcontext())


CASES = {
    "vla_jepa": Case(
        make,
        padding="none",
        reduce=over_all,
        invariant=("to_k.bias",),
        precisely=in_float32,
    )
}
