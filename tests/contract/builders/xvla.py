"""An X-VLA around a small Florence-2: 14 real dimensions of 20, free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.xvla.configuration_xvla import XVLAConfig
from lerobot.policies.xvla.modeling_xvla import XVLAPolicy
from lerobot.policies.xvla.soft_transformer import DomainAwareLinear
from transformers import PreTrainedTokenizerFast

from reflow.policies import FlowPolicy
from reflow.policies.smolvla.vlm import byte_tokenizer
from reflow.policies.xvla import XVLAFlow
from tests.builders import HEIGHT, TASKS, TOP, WIDTH
from tests.contract.cases import Case

WIDE = 32
LONGEST = 64
"""Words of a task."""


def make(scratch: Path, **config: Any) -> FlowPolicy:
    """A small untrained policy in eval mode, every weight wide; ``config``: further fields of ``XVLAConfig``."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(TASKS), pad_token="<pad>", eos_token="<end_of_utterance>"
    )
    tokenizer.save_pretrained(scratch / "bart")
    small: dict[str, Any] = {
        "input_features": {
            "observation.state": PolicyFeature(FeatureType.STATE, (14,)),
            TOP: PolicyFeature(FeatureType.VISUAL, (3, HEIGHT, WIDTH)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (14,))},
        "florence_config": florence(len(tokenizer)),
        "tokenizer_name": str(scratch / "bart"),
        "tokenizer_max_length": LONGEST,
        "resize_imgs_with_padding": (64, 64),
        "chunk_size": 8,
        "n_action_steps": 8,
        "hidden_size": WIDE,
        "depth": 2,
        "num_heads": 2,
        "num_domains": 3,
        "len_soft_prompts": 2,
        "max_len_seq": 128,
        "action_mode": "auto",
        "max_action_dim": 20,
        "max_state_dim": 20,
        "device": "cpu",
        "push_to_hub": False,
    }
    policy = XVLAPolicy(XVLAConfig(**(small | config)))
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=1.5 * parameter[0].numel() ** -0.5)
        for part in policy.modules():
            if isinstance(part, DomainAwareLinear):  # a row holds a whole matrix
                part.fc.weight.normal_(std=1.5 * part.input_size**-0.5)
    return XVLAFlow(policy).eval()


def florence(words: int) -> dict[str, Any]:
    """A small Florence-2's configuration, which X-VLA keeps in its own."""
    return {
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
            "vocab_size": words,
            "d_model": 16,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "max_position_embeddings": 128,
        },
        "image_token_id": words - 1,
    }


CASES = {
    "xvla": Case(
        make,
        padding="free",
        steps=(1, 2, 4, 8, 10),  # the sampler's own times
        weight=torch.square,  # its loss is of actions
        untrained=("aux_visual_proj",),  # it reads a second camera
    )
}
