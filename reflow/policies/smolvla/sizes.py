"""SmolVLA in the size of the real one, and a tiny one to try things out with; random weights both."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from reflow.policies.base import FlowPolicy
from reflow.policies.sizes import PolicySize
from reflow.policies.smolvla.build import build_smolvla
from reflow.policies.smolvla.vlm import VLMSize, build_vlm_folder

SMOLVLM_500M = VLMSize(
    image=512,
    patch=16,
    scale=4,
    vision_width=768,
    vision_layers=12,
    vision_heads=12,
    text_width=960,
    text_layers=16,
    heads=15,
    key_value_heads=5,
    intermediate=2560,
    vocabulary=49_280,
)
"""The first 16 layers of SmolVLM2-500M, as SmolVLA uses them."""
TINY = VLMSize(
    image=32, patch=8, scale=2, vision_width=32, vision_layers=1, text_width=32, text_layers=2, heads=2
)


def build_random(
    vlm: VLMSize,
    scratch: Path,
    *,
    joints: int,
    cameras: Mapping[str, tuple[int, int, int]],
    task: str,
    chunk_size: int,
) -> FlowPolicy:
    """See :class:`reflow.policies.sizes.BuildRandom`."""
    return build_smolvla(
        build_vlm_folder(scratch / "vlm", vlm, [f"{task}\n"]),
        state_dim=joints,
        action_dim=joints,
        cameras=cameras,
        chunk_size=chunk_size,
        n_action_steps=chunk_size,
        num_vlm_layers=vlm.text_layers,
        resize_imgs_with_padding=(vlm.image, vlm.image),
    )


SIZES = {
    "smolvla": PolicySize(450e6, 99.8e6, partial(build_random, SMOLVLM_500M)),
    "tiny": PolicySize(0.1e6, 0.03e6, partial(build_random, TINY)),
}
