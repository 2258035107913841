"""An EVO-1 of a few thousand parameters: 14 real dimensions of 24, masked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.evo1.configuration_evo1 import Evo1Config
from lerobot.policies.evo1.modeling_evo1 import Evo1Policy
from transformers import InternVLConfig, InternVLModel, PreTrainedTokenizerFast

from reflow.policies import FlowPolicy
from reflow.policies.evo1 import Evo1Flow
from reflow.policies.smolvla.vlm import byte_tokenizer
from tests.builders import HEIGHT, TASKS, TOP, WIDTH
from tests.contract.cases import Case

WIDE = 32


def make(scratch: Path, **config: Any) -> FlowPolicy:
    """A small untrained policy in eval mode, every weight wide; ``config``: further fields of ``Evo1Config``."""
    vision = PolicyFeature(FeatureType.VISUAL, (3, HEIGHT, WIDTH))
    wide = config.get("embed_dim", WIDE)
    small: dict[str, Any] = {
        "input_features": {"observation.state": PolicyFeature(FeatureType.STATE, (14,)), TOP: vision},
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (14,))},
        "vlm_num_layers": 2,
        "vlm_dtype": "float32",
        "use_flash_attn": False,
        "max_views": 2,
        "image_resolution": (32, 32),
        "chunk_size": 8,
        "n_action_steps": 8,
        "max_state_dim": 24,
        "max_action_dim": 24,
        "embed_dim": wide,
        "hidden_dim": wide,
        "state_hidden_dim": wide,
        "num_heads": 2,
        "num_layers": 2,
        "num_inference_timesteps": 8,
        "device": "cpu",
        "push_to_hub": False,
    }
    small |= config
    folder = make_backbone(scratch / "internvl", wide, small["image_resolution"][0])
    policy = Evo1Policy(Evo1Config(vlm_model_name=str(folder), **small))
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=1.5 * parameter[0].numel() ** -0.5)
    return Evo1Flow(policy).eval()


def make_backbone(folder: Path, wide: int = WIDE, image: int = 32) -> Path:
    """A folder with a small InternVL: configuration, weights, tokenizer."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(TASKS),
        pad_token="<pad>",
        eos_token="<end_of_utterance>",
        extra_special_tokens={},
        model_max_length=512,
    )
    tokenizer.add_tokens(["<IMG_CONTEXT>", "<img>", "</img>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    config = InternVLConfig.from_dict(
        {
            "vision_config": {
                "hidden_size": wide // 2,
                "intermediate_size": wide,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": [image, image],
                "patch_size": [8, 8],
            },
            "text_config": {
                "model_type": "qwen2",
                "hidden_size": wide,
                "intermediate_size": 2 * wide,
                "num_hidden_layers": 3,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "vocab_size": len(tokenizer),
                "max_position_embeddings": 512,
            },
            "image_token_id": tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
            "image_seq_length": (image // 16) ** 2,
            "downsample_ratio": 0.5,
        }
    )
    InternVLModel(config).save_pretrained(folder)
    return folder


CASES = {"evo1": Case(make, padding="masked", noise="uniform")}
