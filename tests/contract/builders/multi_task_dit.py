"""A diffusion transformer with two small CLIP towers; two observations, horizon 8, 6 steps played."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.multi_task_dit.configuration_multi_task_dit import MultiTaskDiTConfig
from lerobot.policies.multi_task_dit.modeling_multi_task_dit import MultiTaskDiTPolicy
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from reflow.policies import FlowPolicy
from reflow.policies.multi_task_dit import MultiTaskDiTFlow
from tests.builders import HEIGHT, TASKS, TOP, WIDTH
from tests.contract.cases import Case, over_all

LONGEST = 16


def make_clip_folder(folder: Path, image: int = 16) -> Path:
    """CLIP's two towers, and a tokenizer that knows the words of the tasks."""
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**tower, "vocab_size": 40, "max_position_embeddings": LONGEST, "eos_token_id": 1}
    vision = {**tower, "image_size": image, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    words = dict.fromkeys(["[PAD]", "[EOS]", "[UNK]", *" ".join(TASKS).split()])
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", eos_token="[EOS]", unk_token="[UNK]"
    ).save_pretrained(folder)
    return folder


def make_dit(clip: Path, **config: Any) -> MultiTaskDiTFlow:
    """A policy around a folder of :func:`make_clip_folder`; every weight moves the velocity."""
    defaults: dict[str, Any] = {
        "input_features": {
            "observation.state": PolicyFeature(FeatureType.STATE, (14,)),
            TOP: PolicyFeature(FeatureType.VISUAL, (3, HEIGHT, WIDTH)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (14,))},
        "objective": "flow_matching",
        "horizon": 8,
        "n_action_steps": 6,
        "hidden_dim": 32,
        "num_layers": 2,
        "num_heads": 2,
        "timestep_embed_dim": 16,
        "num_integration_steps": 4,
        "image_crop_shape": (16, 16),
        "tokenizer_max_length": LONGEST,
    }
    policy = MultiTaskDiTPolicy(
        MultiTaskDiTConfig(
            vision_encoder_name=str(clip),
            text_encoder_name=str(clip),
            device="cpu",
            push_to_hub=False,
            **(defaults | config),
        )
    )
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return MultiTaskDiTFlow(policy).eval()


def make(scratch: Path, **config: Any) -> FlowPolicy:
    image = (config.get("image_resize_shape") or (16, 16))[0]
    return make_dit(make_clip_folder(scratch / "clip", image), **config)


def alone(flow: FlowPolicy, batch: dict[str, Any]) -> Tensor:
    """LeRobot remembers what it has seen when it is shown the observations of an episode, one at a time."""
    observed = ("observation.state", TOP)
    chunk: Tensor = flow.policy.select_action(batch | {key: batch[key][:, -1] for key in observed})
    return chunk


CASES = {
    "multi_task_dit": Case(
        make,
        padding="none",
        reduce=over_all,
        steps=(1, 2, 4, 8, 10),  # the integrator is LeRobot's own
        alone=alone,
    )
}
