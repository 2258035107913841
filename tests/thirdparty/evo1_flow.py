"""LeRobot's EVO-1 behind reflow's policy interface: what somebody writes whose policy is not served yet.

In every respect another policy than SmolVLA: its time runs the other way (0 noise, 1 data) in a thousand buckets, its
noise is uniform on (-1, 1), its padding is masked at every step, its noise cannot be handed in, and its step count is
copied out of the configuration. This file is installed beside reflow and named by an entry point.
"""

from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
from lerobot.policies.evo1.modeling_evo1 import Evo1Policy
from safetensors.torch import save_file
from torch import Tensor

from reflow.flow import ActionSpace
from reflow.policies import Batch, FlowPolicy, FreezablePrefix, encodes_with_gradient

BUCKETS = 1000


@dataclass(frozen=True)
class Context:
    """Tokens of vision, language and state, which of them to ignore, and embodiment ids."""

    tokens: Tensor
    ignored: Tensor | None
    embodiment: Tensor

    def repeat(self, draws: int) -> "Context":
        """Every observation ``draws`` times in a row."""
        ignored = None if self.ignored is None else self.ignored.repeat_interleave(draws, 0)
        return Context(
            self.tokens.repeat_interleave(draws, 0), ignored, self.embodiment.repeat_interleave(draws, 0)
        )


class Evo1Flow(FlowPolicy[Context], FreezablePrefix):
    """Adapter for ``lerobot.policies.evo1``."""

    policy: Evo1Policy

    @property
    def space(self) -> ActionSpace:
        config = self.policy.config
        return ActionSpace(config.action_feature.shape[0], config.max_action_dim, config.chunk_size)

    @property
    def num_steps(self) -> int:
        return self.policy.config.num_inference_timesteps

    @num_steps.setter
    def num_steps(self, value: int) -> None:
        self.policy.config.num_inference_timesteps = value
        self.policy.model.action_head.num_inference_timesteps = value

    def encode(self, batch: Batch) -> Context:
        policy = self.policy
        with torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)):
            images, masks = policy._collect_image_batches(batch)
            tokens, seen = policy._compute_fused_tokens(policy._normalize_task_batch(batch), images, masks)
            state, _ = policy._prepare_state(batch)
            embodiment = policy._get_embodiment_ids(batch, len(state))
            return Context(*policy.model.action_head._prepare_context(tokens, state, embodiment, seen))

    def velocity(self, context: Context, x_t: Tensor, t: Tensor) -> Tensor:
        head, many = self.policy.model.action_head, context.repeat(x_t.shape[1])
        mask = self.mask(x_t)
        bucket = ((1 - t.flatten()) * (BUCKETS - 1) + 1e-4).long().clamp(0, BUCKETS - 1)
        time = head.time_pos_enc(BUCKETS)[0, bucket]
        hidden = head._project_actions((x_t * mask).flatten(0, 1), many.embodiment)
        for block in head.transformer_blocks:
            hidden = block(hidden, many.tokens, time, many.ignored)
        pooled = head.seq_pool_proj(head.norm_out(hidden).flatten(1))
        return -head.mlp_head(pooled, many.embodiment).view(x_t.shape) * mask

    def base_noise(self, randn: Tensor) -> Tensor:
        uniform = torch.special.erf(randn / 2**0.5)
        # What 2 * torch.rand(...) - 1 can give are multiples of 2^-23: handed in as (noise + 1) / 2, none is rounded.
        return (uniform * 2**23).round() / 2**23 * self.mask(randn)

    def mask(self, like: Tensor) -> Tensor:
        """1 on real dimensions, 0 on padding."""
        mask = torch.zeros(self.space.max_action_dim, dtype=like.dtype, device=like.device)
        mask[: self.space.action_dim] = 1
        return mask

    def stock_chunk(self, batch: Batch, noise: Tensor) -> Tensor:
        with patch("torch.rand", lambda *_, **__: (noise.flatten(1) + 1) / 2):  # it draws inside
            return self.policy.predict_action_chunk(dict(batch))

    def output(self, endpoint: Tensor) -> Tensor:
        return endpoint  # its postprocessor cuts

    def prefix_groups(self) -> dict[str, list[str]]:
        names = [name for name, _ in self.named_parameters()]
        return {
            "backbone": [name for name in names if name.startswith("policy.model.embedder.")],
            "state": [name for name in names if ".action_head.state_encoder." in name],
        }

    def complete_folder(self, folder: Path) -> None:
        """LeRobot wants a weights file beside the backbone's configuration, although every weight is in ours."""
        save_file({"none": torch.zeros(1)}, folder / "vlm" / "model.safetensors", metadata={"format": "pt"})
