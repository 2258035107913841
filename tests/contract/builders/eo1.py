"""An EO-1 of a few thousand parameters: 14 real dimensions of 32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.eo1.configuration_eo1 import EO1Config
from lerobot.policies.eo1.modeling_eo1 import EO1Policy

from reflow.policies import FlowPolicy
from reflow.policies.eo1 import EO1Flow
from tests.builders import HEIGHT, TOP, WIDTH
from tests.contract.builders.qwen import make_qwen_folder
from tests.contract.cases import Case, over_all


def make(scratch: Path, **config: Any) -> FlowPolicy:
    """A small untrained policy in eval mode, every weight wide; ``config``: further fields of ``EO1Config``."""
    small: dict[str, Any] = {
        "input_features": {
            "observation.state": PolicyFeature(FeatureType.STATE, (14,)),
            TOP: PolicyFeature(FeatureType.VISUAL, (3, HEIGHT, WIDTH)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (14,))},
        "vlm_base": str(make_qwen_folder(scratch / "qwen", "Qwen2_5_VL")),
        "chunk_size": 8,
        "n_action_steps": 8,
        "num_denoise_steps": 4,
        "dtype": "float32",
        "attn_implementation": "eager",
        "image_min_pixels": 28 * 28,
        "image_max_pixels": 56 * 56,
        "device": "cpu",
        "push_to_hub": False,
    }
    policy = EO1Policy(EO1Config(**(small | config)))
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if parameter.ndim > 1 and "embed_tokens" not in name:
                parameter.normal_(std=1.5 * parameter[0].numel() ** -0.5)
    return EO1Flow(policy).eval()


CASES = {"eo1": Case(make, padding="free", reduce=over_all)}
