"""A GR00T N1.7 of a few thousand parameters: 14 real dimensions of 20."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.groot import processor_groot
from lerobot.policies.groot.configuration_groot import GrootConfig
from lerobot.policies.groot.groot_n1_7 import GR00TN17, GR00TN17Config
from lerobot.policies.groot.modeling_groot import GrootPolicy

from reflow.policies import FlowPolicy
from reflow.policies.groot import GrootFlow
from tests.builders import HEIGHT, TOP, WIDTH
from tests.contract.builders.qwen import make_qwen_folder
from tests.contract.cases import Case

ATTENTION = {
    "positional_embeddings": None,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "dropout": 0.2,
    "final_dropout": True,
}


def make(scratch: Path, **config: Any) -> FlowPolicy:
    """A small untrained policy in eval mode, every weight wide; ``config``: further fields of ``GrootConfig``."""
    head = {"num_layers": 4, "norm_type": "ada_norm", "output_dim": 16, "interleave_self_attention": True}
    qwen = make_qwen_folder(scratch / "qwen", "Qwen3VL")
    vars(processor_groot)["GROOT_N1_7_BACKBONE_MODEL"] = str(
        qwen
    )  # what new processors name, in LeRobot's code
    base = GR00TN17(
        GR00TN17Config(
            model_name=str(qwen),
            model_dtype="float32",
            dtype="float32",
            backbone_embedding_dim=32,
            select_layer=2,
            max_state_dim=20,
            max_action_dim=20,
            action_horizon=8,
            hidden_size=16,
            input_embedding_dim=32,
            max_num_embodiments=32,  # as many as LeRobot has numbers for
            max_seq_len=64,
            diffusion_model_cfg=ATTENTION | head,
            vl_self_attention_cfg=ATTENTION | {"num_layers": 1},
            use_flash_attention=False,
            load_bf16=False,
        ),
        load_backbone_weights=True,
    )
    with torch.no_grad():
        for name, parameter in base.named_parameters():
            if parameter.ndim > 1 and "embed_tokens" not in name and "lm_head" not in name:
                parameter.normal_(std=1.5 * parameter[0].numel() ** -0.5)
    base.save_pretrained(scratch / "base")
    small: dict[str, Any] = {
        "input_features": {
            "observation.state": PolicyFeature(FeatureType.STATE, (14,)),
            TOP: PolicyFeature(FeatureType.VISUAL, (3, HEIGHT, WIDTH)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (14,))},
        "base_model_path": str(scratch / "base"),
        "chunk_size": 8,
        "n_action_steps": 8,
        "max_state_dim": 20,
        "max_action_dim": 20,
        "use_bf16": False,
        "device": "cpu",
        "push_to_hub": False,
    }
    return GrootFlow(GrootPolicy(GrootConfig(**(small | config)))).eval()


CASES = {"groot": Case(make, padding="free", invariant=("attn1.to_k.bias",))}
