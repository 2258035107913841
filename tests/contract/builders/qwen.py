"""A folder with a small Qwen2.5-VL or Qwen3-VL: configuration, weights, tokenizer, processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedTokenizerFast, Qwen2VLImageProcessor

from reflow.policies.smolvla.vlm import byte_tokenizer
from tests.builders import TASKS

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A conversation as Qwen's own template has it, without tools and videos."""
SPECIAL = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
SPARE = 64
"""Rows of the embedding table beyond the tokenizer's: policies add tokens of their own."""


def make_qwen_folder(
    folder: Path, kind: str, wide: int = 32, *, corpus: Sequence[str] = (), tied: bool = False
) -> Path:
    """Writes the folder.

    Args:
        folder: where to.
        kind: ``Qwen2_5_VL`` or ``Qwen3VL``, as transformers names its classes.
        wide: of the language model.
        corpus: words beside the tasks' that become few tokens; all else is read byte by byte.
        tied: one table for words in and words out.
    """
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer([*(f"{task}\n" for task in TASKS), *corpus]),
        pad_token="<pad>",
        eos_token="<end_of_utterance>",
        extra_special_tokens={},
        model_max_length=512,
    )
    tokenizer.add_tokens(list(SPECIAL), special_tokens=True)
    tokenizer.image_token, tokenizer.video_token = "<|image_pad|>", "<|video_pad|>"
    older = kind == "Qwen2_5_VL"
    patch = 14 if older else 16
    number = tokenizer.convert_tokens_to_ids
    sections: dict[str, Any] = {"mrope_section": [2, 3, 3] if older else [3, 3, 2]}
    rope = {"rope_type": "default", "rope_theta": 10_000.0, **sections}
    text: dict[str, Any] = {
        "hidden_size": wide,
        "intermediate_size": 2 * wide,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": len(tokenizer) + SPARE,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": tied,
        "rope_parameters": rope if older else rope | {"mrope_interleaved": True},
    }
    eye: dict[str, Any] = {
        "depth": 1 if older else 2,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_heads": 2,
        "out_hidden_size": wide,
        "patch_size": patch,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    if older:
        text["rope_scaling"] = {"type": "mrope", **sections}
        eye |= {"window_size": 56, "fullatt_block_indexes": [0]}
    else:
        text["head_dim"] = 16
        eye |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    config = getattr(transformers, f"{kind}Config").from_dict(
        {
            "tie_word_embeddings": tied,
            "text_config": text,
            "vision_config": eye,
            "image_token_id": number("<|image_pad|>"),
            "video_token_id": number("<|video_pad|>"),
            "vision_start_token_id": number("<|vision_start|>"),
            "vision_end_token_id": number("<|vision_end|>"),
        }
    )
    getattr(transformers, f"{kind}ForConditionalGeneration")(config).save_pretrained(folder)
    video = "Qwen2VLVideoProcessor" if older else "Qwen3VLVideoProcessor"
    getattr(transformers, f"{kind}Processor")(
        image_processor=Qwen2VLImageProcessor(
            patch_size=patch, merge_size=2, min_pixels=(2 * patch) ** 2, max_pixels=(4 * patch) ** 2
        ),
        tokenizer=tokenizer,
        video_processor=getattr(transformers, video)(),
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder
