"""A pi0 and a pi05 of a few thousand parameters: 14 real dimensions of 32."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.pi0 import processor_pi0
from lerobot.policies.pi05 import processor_pi05
from lerobot.processor import TokenizerProcessorStep
from transformers import PreTrainedTokenizerFast

from reflow.policies import FlowPolicy, save_policy, stock
from reflow.policies.processors import save_new_processors
from reflow.policies.registry import get_adapter
from reflow.policies.smolvla.vlm import byte_tokenizer
from tests.builders import HEIGHT, TASKS, TOP, WIDTH, make_statistics, quiet
from tests.contract.builders import small_pi
from tests.contract.cases import Case

TOKENS = 112
"""For the words of pi05: a task, and 14 numbers of up to three digits, byte by byte."""


def make(policy_type: str, scratch: Path, **config: Any) -> FlowPolicy:
    """A small untrained policy in eval mode, every weight wide; its processors get a tokenizer in ``scratch``."""
    tokenize_by(make_tokenizer(scratch / "tokenizer"))
    kind = stock.config_class(policy_type)
    assert kind is not None
    features: dict[str, Any] = {
        "input_features": {
            "observation.state": PolicyFeature(FeatureType.STATE, (14,)),
            TOP: PolicyFeature(FeatureType.VISUAL, (3, HEIGHT, WIDTH)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (14,))},
    }
    sizes: dict[str, Any] = {
        "chunk_size": 8,
        "n_action_steps": 8,
        "image_resolution": (28, 28),
        "num_inference_steps": 4,
        "tokenizer_max_length": 16 if policy_type == "pi0" else TOKENS,
        "device": "cpu",
        "push_to_hub": False,
    }
    with quiet():
        policy = stock.get_policy_class(policy_type)(kind(**(features | sizes | config)))
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.ndim > 1:
                # The norms of pi05 begin blind to time: a wide weight there opens its eye.
                torch.nn.init.normal_(parameter, std=1.5 * parameter[0].numel() ** -0.5)
    return get_adapter(policy_type)(policy.eval())


def make_folder(policy_type: str, scratch: Path) -> Path:
    """A complete ``pretrained_model`` folder of such a policy in ``scratch``; always the same one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = make(policy_type, scratch)
    statistics = make_statistics(14, 14)
    for entry in statistics.values():
        entry |= {"q01": entry["mean"] - 2 * entry["std"], "q99": entry["mean"] + 2 * entry["std"]}
    save_new_processors(flow, statistics, scratch / "processors")
    return save_policy(flow, scratch / "processors", scratch / "pretrained_model")


def make_tokenizer(folder: Path) -> Path:
    """A folder with a tokenizer, in the place of PaliGemma's, which is not to be had without a licence."""
    PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer([f"{task}\n" for task in TASKS]),
        pad_token="<pad>",
        model_max_length=TOKENS,
    ).save_pretrained(folder)
    return folder


def tokenize_by(folder: Path) -> None:
    """New processors of pi0 and pi05 name this tokenizer; LeRobot has the name of PaliGemma's in its code."""

    def step(tokenizer_name: str, **settings: Any) -> TokenizerProcessorStep:
        return TokenizerProcessorStep(tokenizer_name=str(folder), **settings)

    for module in (processor_pi0, processor_pi05):
        vars(module)["TokenizerProcessorStep"] = step


def stock_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights that LeRobot itself ends up with."""
    with quiet():
        policy = stock.get_policy_class(stock.read_config(folder).type).from_pretrained(folder)
    return policy.state_dict()


def noise(flow: FlowPolicy, size: int = 2) -> torch.Tensor:
    """Noise of ``size`` observations, ``[b, h, d]``."""
    shape = (size, flow.space.chunk_size, flow.space.max_action_dim)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


CASES = {
    name: Case(partial(make, name), padding="free", environment=small_pi.environment)
    for name in ("pi0", "pi05")
}
