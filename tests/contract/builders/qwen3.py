"""A Qwen3-VL of a few thousand parameters in a folder: configuration, weights, tokenizer, processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from reflow.policies.smolvla.vlm import byte_tokenizer

PATCH = 16
_MARKS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
# What Qwen's own template makes of a message of pictures and words.
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_qwen3(folder: Path, corpus: Sequence[str], wide: int = 32, image: int = 64) -> Path:
    """Writes the folder.

    Args:
        folder: where to.
        corpus: words that become few tokens; all else is read byte by byte.
        wide: of the language model.
        image: side of what a picture is scaled to, about, in pixels.
    """
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(corpus),
        pad_token="<pad>",
        eos_token="<end_of_utterance>",
        model_max_length=1024,
    )
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>", *_MARKS.values()], special_tokens=True)
    tokenizer.image_token, tokenizer.video_token = _MARKS["image_token_id"], _MARKS["video_token_id"]
    eye = Qwen2VLImageProcessor(patch_size=PATCH, merge_size=2, min_pixels=image**2, max_pixels=2 * image**2)
    Qwen3VLProcessor(
        image_processor=eye,
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=_TEMPLATE,
    ).save_pretrained(folder)
    text = {
        "hidden_size": wide,
        "intermediate_size": 2 * wide,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [3, 3, 2],
            "mrope_interleaved": True,
            "rope_theta": 10_000.0,
        },
    }
    vision = {
        "depth": 2,
        "hidden_size": wide // 2,
        "intermediate_size": wide,
        "num_heads": 2,
        "out_hidden_size": wide,
        "patch_size": PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    marks = {field: tokenizer.convert_tokens_to_ids(mark) for field, mark in _MARKS.items()}
    config = Qwen3VLConfig.from_dict(
        {"text_config": text, "vision_config": vision, "tie_word_embeddings": True, **marks}
    )
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    return folder
