"""A small SmolVLM folder (configuration, tokenizer, processor; no weights), made offline.

Stock SmolVLA asks for such a folder by ``vlm_model_name`` even when every weight is in its own
checkpoint. Hub models need the hub; this one is made from nothing, in a second, for the demo's teacher
and for the tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
)
from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

from reflow.errors import UserError

_SPECIAL = {
    "fake_image_token": "<fake_token_around_image>",
    "image_token": "<image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
}


@dataclass(frozen=True)
class VLMSize:
    """Geometry of a small SmolVLM.

    Attributes:
        image: side of the square image, in pixels.
        patch: side of a vision patch, in pixels; must divide ``image``.
        scale: patches merged per side into one image token; must divide ``image / patch``.
        vision_width, vision_layers: vision transformer.
        text_width, text_layers, heads: text transformer (and, at 0.75 of its width, the action expert).
        vision_heads, key_value_heads: attention heads of the vision transformer, and key/value heads of the text
            transformer; None for ``heads``.
        intermediate: width inside the text transformer's feed-forward layers; None for three times its own.
        vocabulary: rows of the embedding table; None for as many as there are tokens.
    """

    image: int = 96
    patch: int = 8
    scale: int = 3
    vision_width: int = 128
    vision_layers: int = 3
    text_width: int = 128
    text_layers: int = 4
    heads: int = 4
    vision_heads: int | None = None
    key_value_heads: int | None = None
    intermediate: int | None = None
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        side = self.image // self.patch
        if self.image % self.patch or side % self.scale:
            raise UserError(
                f"image {self.image}, patch {self.patch}, scale {self.scale}: patch must divide image, and scale "
                "must divide image / patch; choose e.g. image=96, patch=8, scale=3"
            )


def build_vlm_folder(folder: Path, size: VLMSize, corpus: Iterable[str]) -> Path:
    """Writes configuration, tokenizer and processor of a small SmolVLM.

    Args:
        folder: where to (made when missing).
        size: the geometry.
        corpus: sentences whose words become tokens; everything else falls back to bytes.

    Returns:
        The folder, ready as ``vlm_model_name``.
    """
    tokenizer = byte_tokenizer(corpus)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<end_of_utterance>",
        bos_token="<end_of_utterance>",
        extra_special_tokens=_SPECIAL,
        model_max_length=128,
    )
    side = size.image // size.patch
    SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(
            size={"longest_edge": size.image}, max_image_size={"longest_edge": size.image}
        ),
        tokenizer=fast,
        video_processor=SmolVLMVideoProcessor(
            size={"longest_edge": size.image}, max_image_size={"longest_edge": size.image}
        ),
        image_seq_len=(side // size.scale) ** 2,
    ).save_pretrained(folder)
    pad = fast.pad_token_id
    SmolVLMConfig.from_dict(
        {
            "image_token_id": fast.convert_tokens_to_ids("<image>"),
            "pad_token_id": pad,
            "scale_factor": size.scale,
            "vision_config": {
                "hidden_size": size.vision_width,
                "intermediate_size": 4 * size.vision_width,
                "num_hidden_layers": size.vision_layers,
                "num_attention_heads": size.vision_heads or size.heads,
                "image_size": size.image,
                "patch_size": size.patch,
            },
            "text_config": {
                "model_type": "llama",
                "vocab_size": size.vocabulary or len(fast),
                "hidden_size": size.text_width,
                "intermediate_size": size.intermediate or 3 * size.text_width,
                "num_hidden_layers": size.text_layers,
                "num_attention_heads": size.heads,
                "num_key_value_heads": size.key_value_heads or size.heads,
                "head_dim": size.text_width // size.heads,
                "max_position_embeddings": 512,
                "rms_norm_eps": 1e-5,
                "pad_token_id": pad,
            },
        }
    ).save_pretrained(folder)
    return folder


def byte_tokenizer(corpus: Iterable[str]) -> Tokenizer:
    """A tokenizer that knows some words, and everything else byte by byte."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<pad>", *_SPECIAL.values()],
    )
    tokenizer.train_from_iterator(list(corpus), trainer)
    return tokenizer
