"""An X-VLA of a few thousand parameters: 14 real dimensions of 20."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.xvla.configuration_xvla import XVLAConfig
from lerobot.policies.xvla.modeling_xvla import XVLAPolicy
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from reflow.policies import FlowPolicy
from reflow.policies.smolvla.vlm import byte_tokenizer
from reflow.policies.xvla import XVLAFlow
from tests.builders import HEIGHT, TASKS, TOP, WIDTH
from tests.contract.cases import TIMES, Case

FLORENCE: dict[str, Any] = {
    "vision_config": {
        "depths": [1, 1, 1, 1],
        "embed_dim": [8, 8, 16, 16],
        "num_heads": [2, 2, 2, 2],
        "num_groups": [2, 2, 2, 2],
        "window_size": 4,
        "projection_dim": 16,
        "patch_size": [7, 3, 3, 3],
        "patch_stride": [4, 2, 2, 2],
        "patch_padding": [3, 1, 1, 1],
        "patch_prenorm": [False, True, True, True],
        "max_temporal_embeddings": 8,
        "max_position_embeddings": 16,
    },
    "text_config": {
        "model_type": "bart",
        "vocab_size": 400,
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 128,
    },
    "image_token_id": 399,
}


def make(scratch: Path, **config: Any) -> FlowPolicy:
    """A small untrained policy in eval mode, every weight wide; ``config``: further fields of ``XVLAConfig``."""
    tokenizer = scratch / "tokenizer"
    PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer([f"{task}\n" for task in TASKS]), pad_token="<pad>"
    ).save_pretrained(tokenizer)
    small: dict[str, Any] = {
        "input_features": {
            "observation.state": PolicyFeature(FeatureType.STATE, (14,)),
            TOP: PolicyFeature(FeatureType.VISUAL, (3, HEIGHT, WIDTH)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (14,))},
        "florence_config": FLORENCE,
        "tokenizer_name": str(tokenizer),
        "tokenizer_max_length": 16,
        "resize_imgs_with_padding": (64, 64),
        "chunk_size": 8,
        "n_action_steps": 8,
        "hidden_size": 32,
        "depth": 2,
        "num_heads": 2,
        "num_domains": 3,
        "len_soft_prompts": 2,
        "max_len_seq": 128,
        "action_mode": "auto",
        "max_action_dim": 20,
        "max_state_dim": 20,
        "num_denoising_steps": 4,
        "device": "cpu",
        "push_to_hub": False,
    }
    policy = XVLAPolicy(XVLAConfig(**(small | config)))
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if parameter.ndim > 1 and "shared" not in name:
                parameter.normal_(std=1.5 * parameter[0].numel() ** -0.5)
    return XVLAFlow(policy).eval()


def scaled(flow: FlowPolicy, errors: Tensor) -> Tensor:
    """LeRobot's loss is that of the action: a velocity's error is one over the time of it."""
    scale = flow.policy.model.action_space.JOINTS_SCALE
    return scale * (flow.space.real(errors) * TIMES[:, None, None] ** 2).mean()


CASES = {
    "xvla": Case(
        make,
        padding="free",
        reduce=scaled,
        untrained=("aux_visual_proj",),  # for cameras beyond the first, and there is one
        steps=(1, 2, 4, 8, 10),
    )
}
