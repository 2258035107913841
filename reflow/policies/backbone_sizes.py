"""Published sizes of the backbones that LeRobot's policies are built around, as configurations.

Each function writes the configuration of one model into a folder, with a small tokenizer of our own where a policy
asks for one: what is counted are layers and widths, from the models' own ``config.json`` on the Hugging Face hub.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import (
    CLIPConfig,
    InternVLConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from reflow.policies.smolvla.sizes import SMOLVLM_500M
from reflow.policies.smolvla.vlm import build_vlm_folder, byte_tokenizer

_VOCABULARY_QWEN = 151_936


def smolvlm2_500m(folder: Path) -> None:
    """HuggingFaceTB/SmolVLM2-500M-Video-Instruct, its first 16 layers."""
    build_vlm_folder(folder, SMOLVLM_500M, [])


def clip_b16(folder: Path) -> None:
    """openai/clip-vit-base-patch16."""
    CLIPConfig.from_dict({"vision_config": {"patch_size": 16}}).save_pretrained(folder)


def internvl3_1b(folder: Path) -> None:
    """OpenGVLab/InternVL3-1B-hf: InternViT of 300 M beside Qwen2.5 of 0.5 B."""
    tokenizer_only(folder)
    InternVLConfig.from_dict(
        {
            "vision_config": {
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "image_size": [448, 448],
                "patch_size": [14, 14],
            },
            "text_config": {
                "model_type": "qwen2",
                "hidden_size": 896,
                "intermediate_size": 4864,
                "num_hidden_layers": 24,
                "num_attention_heads": 14,
                "num_key_value_heads": 2,
                "vocab_size": 151_674,
            },
        }
    ).save_pretrained(folder)


def qwen2_5_vl_3b(folder: Path) -> None:
    """Qwen/Qwen2.5-VL-3B-Instruct."""
    Qwen2_5_VLConfig.from_dict(
        {
            "text_config": {
                "hidden_size": 2048,
                "intermediate_size": 11_008,
                "num_hidden_layers": 36,
                "num_attention_heads": 16,
                "num_key_value_heads": 2,
                "vocab_size": _VOCABULARY_QWEN,
                "tie_word_embeddings": True,
            },
            "vision_config": {
                "depth": 32,
                "hidden_size": 1280,
                "intermediate_size": 3420,
                "num_heads": 16,
                "out_hidden_size": 2048,
            },
            "tie_word_embeddings": True,
        }
    ).save_pretrained(folder)


def qwen3_vl_2b(folder: Path) -> None:
    """Qwen/Qwen3-VL-2B-Instruct, and nvidia/Cosmos-Reason2-2B, which has its layout."""
    tokenizer = tokenizer_only(folder)
    Qwen3VLConfig.from_dict(
        {
            "text_config": {
                "hidden_size": 2048,
                "intermediate_size": 6144,
                "num_hidden_layers": 28,
                "num_attention_heads": 16,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "vocab_size": _VOCABULARY_QWEN,
            },
            "vision_config": {
                "depth": 24,
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "num_heads": 16,
                "out_hidden_size": 2048,
                "num_position_embeddings": 2304,
                "deepstack_visual_indexes": [5, 11, 17],
            },
            "tie_word_embeddings": True,
        }
    ).save_pretrained(folder)
    Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(), tokenizer=tokenizer, video_processor=Qwen3VLVideoProcessor()
    ).save_pretrained(folder)


def gr00t_n1_7(folder: Path) -> None:
    """nvidia/GR00T-N1.7-3B, as LeRobot's own defaults have it, around Cosmos-Reason2-2B."""
    from lerobot.policies.groot.groot_n1_7 import GR00TN17Config  # an extra: reflow[groot]

    backbone = folder / "Cosmos-Reason2-2B"
    backbone.mkdir()
    qwen3_vl_2b(backbone)
    GR00TN17Config(model_name=str(backbone), use_flash_attention=False, load_bf16=False).save_pretrained(
        folder
    )


def florence2_large() -> dict[str, Any]:
    """microsoft/Florence-2-large, which X-VLA holds in its own configuration."""
    return {
        "vision_config": {
            "depths": [1, 1, 9, 1],
            "embed_dim": [256, 512, 1024, 2048],
            "num_heads": [8, 16, 32, 64],
            "num_groups": [8, 16, 32, 64],
            "projection_dim": 1024,
        },
        "text_config": {
            "model_type": "bart",
            "vocab_size": 51_289,
            "d_model": 1024,
            "encoder_layers": 12,
            "decoder_layers": 12,
            "encoder_attention_heads": 16,
            "decoder_attention_heads": 16,
            "encoder_ffn_dim": 4096,
            "decoder_ffn_dim": 4096,
        },
    }


def tokenizer_only(folder: Path) -> PreTrainedTokenizerFast:
    """A small tokenizer with the special tokens that these models' processors look for."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer([]),
        pad_token="<pad>",
        eos_token="<end_of_utterance>",
        extra_special_tokens={},
    )
    images = (
        "<IMG_CONTEXT>",
        "<img>",
        "</img>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    )
    tokenizer.add_tokens(list(images), special_tokens=True)
    tokenizer.image_token, tokenizer.video_token = "<|image_pad|>", "<|video_pad|>"
    tokenizer.save_pretrained(folder)
    return tokenizer
