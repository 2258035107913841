"""LeRobot's multi-task diffusion transformer, trained by flow matching, as ``encode`` and ``velocity``.

Its time runs from noise at 0 to actions at 1; here it is turned round. It looks at several observations, the last
``n_obs_steps``, and its chunk begins with the first of them: what is played is the part from now on. Words,
images and states become one vector, which modulates every layer.

With ``sigma_min`` above zero LeRobot's paths run to ``action + sigma_min * noise``, and so do the teacher's
endpoints, which a student learns. Left out: ``objective=diffusion``, whose steps are no velocities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lerobot.policies.multi_task_dit.modeling_multi_task_dit import MultiTaskDiTPolicy
from lerobot.policies.utils import populate_queues
from lerobot.utils.constants import (
    ACTION,
    OBS_IMAGES,
    OBS_LANGUAGE_ATTENTION_MASK,
    OBS_LANGUAGE_TOKENS,
    OBS_STATE,
)
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from reflow.errors import UserError
from reflow.flow import EULER, RK4, ActionSpace, Solver
from reflow.policies.base import Batch, FlowPolicy
from reflow.policies.capabilities import (
    CONTEXT,
    VISION,
    ActionBias,
    FreezablePrefix,
    StockCheck,
    StockForward,
    StorablePrefix,
    Tensors,
)
from reflow.policies.groups import encodes_with_gradient

_ENCODER = "policy.observation_encoder."
_CONDITIONING = "conditioning"


class MultiTaskDiTFlow(FlowPolicy[Tensor], StorablePrefix[Tensor], ActionBias, FreezablePrefix, StockCheck):
    """Adapter for ``lerobot.policies.multi_task_dit``; its context is the conditioning vector ``[b, c]``."""

    policy: MultiTaskDiTPolicy
    # LeRobot takes no name without "clip" in it.
    backbones = {"vision_encoder_name": "clip_vision", "text_encoder_name": "clip_text"}
    wants_backbone_weights = True
    steps_field = "num_integration_steps"
    # All of LeRobot's observation encoder. The language model never learns: LeRobot runs it without gradient.
    prefixes = {
        "projection": (f"{_ENCODER}text_encoder.projection.",),
        "language": (f"{_ENCODER}text_encoder.",),
        "vision": (_ENCODER,),
    }
    vision_groups = ("vision",)

    @classmethod
    def prepare(cls, config: Any, folder: Path) -> None:
        """Refuses what is no flow."""
        if config.objective != "flow_matching":
            raise UserError(
                f"objective={config.objective} in {folder / 'config.json'}; allowed: flow_matching. A student is "
                "distilled from a velocity field, and a policy trained by diffusion has none: choose a teacher "
                "that was trained with policy.objective=flow_matching"
            )

    @property
    def space(self) -> ActionSpace:
        """Nothing is padded; the chunk is as long as the horizon, its past included."""
        width = self.policy.config.action_feature.shape[0]
        return ActionSpace(width, width, self.policy.config.horizon)

    def take_steps(self, num_steps: int) -> None:
        """By Euler, whatever the teacher is integrated by: a student of one step is asked where its flow begins."""
        self.policy.config.integration_method = "euler"
        super().take_steps(num_steps)

    @property
    def solver(self) -> Solver:
        """``integration_method``."""
        return RK4 if self.policy.config.integration_method == "rk4" else EULER

    def vision_features(self, batch: Batch) -> Tensors:
        """What the vision encoder makes of the cameras, ``[b, n_obs, cameras * width]``."""
        encoder = self.policy.observation_encoder
        images = self._history(batch)[OBS_IMAGES]
        size, steps, cameras = images.shape[:3]
        with torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)):
            if encoder.vision_encoders is not None:
                features = [
                    eye(encoder._apply_preprocessing(images[:, :, number].flatten(0, 1))).flatten(1)
                    for number, eye in enumerate(encoder.vision_encoders)
                ]
                seen = torch.cat([feature.unflatten(0, (size, steps)) for feature in features], -1)
            else:
                flat = encoder._apply_preprocessing(images.flatten(0, 2))
                seen = encoder.vision_encoder(flat).flatten(1).unflatten(0, (size, steps, cameras)).flatten(2)
        return {"features": seen}

    def encode(self, batch: Batch) -> Float[Tensor, "b c"]:
        """The conditioning vector, of states, images and words of every observation."""
        if CONTEXT in batch:
            return self.unpack(batch[CONTEXT])
        encoder = self.policy.observation_encoder
        state = self._states(batch)
        vision = batch[VISION] if VISION in batch else self.vision_features(batch)
        with torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)):
            words = encoder.text_encoder(batch[OBS_LANGUAGE_TOKENS], batch[OBS_LANGUAGE_ATTENTION_MASK])
            words = words[:, None].expand(-1, state.shape[1], -1)
            return torch.cat([state, vision["features"].to(state.dtype), words], -1).flatten(1)

    def pack(self, context: Float[Tensor, "b c"]) -> Tensors:
        """The vector, as a prefix of one token."""
        return {_CONDITIONING: context[:, None]}

    def unpack(self, tensors: Tensors) -> Float[Tensor, "b c"]:
        """The vector again, in float32."""
        return tensors[_CONDITIONING][:, 0].float()

    def velocity(
        self, context: Float[Tensor, "b c"], x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        """LeRobot's, at its own time, turned round."""
        conditioning = context.repeat_interleave(x_t.shape[1], 0)
        v_t = self.policy.noise_predictor(
            x_t.flatten(0, 1), 1 - t.flatten(0, 1), conditioning_vec=conditioning
        )
        return -v_t.to(x_t.dtype).unflatten(0, x_t.shape[:2])

    def walk(
        self, context: Float[Tensor, "b c"], noise: Float[Tensor, "b k h d"], num_steps: int | None = None
    ) -> Float[Tensor, "b k h d"]:
        """By LeRobot's own integrator, on its own grid: the times of a grid turned round are rounded otherwise."""
        steps = self.num_steps if num_steps is None else num_steps
        objective = self.policy.objective
        move = objective._rk4_integrate if self.solver is RK4 else objective._euler_integrate
        grid = torch.linspace(0, 1, steps + 1, device=noise.device)
        conditioning = context.repeat_interleave(noise.shape[1], 0)
        ends: Tensor = move(self.policy.noise_predictor, noise.flatten(0, 1), grid, conditioning)
        return ends.unflatten(0, noise.shape[:2])

    def output(self, endpoint: Float[Tensor, "*b h d"]) -> Float[Tensor, "*b n d"]:
        """The part of the chunk that is played: from now on, ``n_action_steps`` of it."""
        start = self.policy.config.n_obs_steps - 1
        return endpoint[..., start : start + self.policy.config.n_action_steps, :]

    def actions(self, endpoint: Float[Tensor, "*b h d"]) -> Float[Tensor, "*b h d"]:
        """All of the chunk, its past too: as long as the data's, which LeRobot is trained on."""
        return endpoint

    def stock_chunk(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b n d"]:
        """``predict_action_chunk`` reads its queues: they are filled one observation after the other."""
        policy, history = self.policy, self._history(batch)
        kept = policy._queues
        policy.reset()
        try:
            for step in range(policy.config.n_obs_steps):
                one = {key: history[key][:, step] for key in (OBS_STATE, OBS_IMAGES)}
                policy._queues = populate_queues(policy._queues, one)
            with _Noise(noise):
                return policy.predict_action_chunk({key: history[key] for key in history if key != ACTION})
        finally:
            policy._queues = kept

    def stock_forward(
        self, batch: Batch, noise: Float[Tensor, "b h d"], t: Float[Tensor, " b"]
    ) -> StockForward:
        """LeRobot's time is one minus ours."""
        seen: list[tuple[Tensor, Tensor]] = []
        hook = self.policy.noise_predictor.register_forward_hook(
            lambda _, inputs, output: seen.append((inputs[0], output))
        )
        own = {key: value for key, value in self._history(batch).items() if key != "action_is_pad"}
        try:
            with _Noise(noise), _times(self.policy.objective, 1 - t):
                loss, _ = self.policy.forward(own)
        finally:
            hook.remove()
        [(x_t, v_t)] = seen
        return StockForward(x_t, -v_t, loss)

    @torch.no_grad()
    def stock_endpoint(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        """``conditional_sample``, from this noise."""
        policy = self.policy
        context = policy.observation_encoder.encode(self._history(batch))
        with _Noise(noise):
            return policy.objective.conditional_sample(policy.noise_predictor, len(noise), context)

    def counted(self) -> nn.Module:
        """The last layer; ``rk4`` asks for four velocities a step."""
        return self.policy.noise_predictor.output_proj

    def action_bias(self) -> tuple[nn.Module, nn.Parameter]:
        """The first layer that noisy actions meet."""
        layer: Any = self.policy.noise_predictor.input_proj
        return layer, layer.bias

    def _history(self, batch: Batch) -> Batch:
        """A batch as LeRobot's own forward wants it, its cameras in one tensor ``[b, n_obs, cameras, 3, h, w]``."""
        steps = self.policy.config.n_obs_steps
        cameras = [
            batch[key] if batch[key].ndim == 5 else batch[key][:, None].expand(-1, steps, -1, -1, -1)
            for key in self.policy.config.image_features
        ]
        own = {key: value for key, value in batch.items() if key not in self.policy.config.image_features}
        stacked = dict(zip(self.policy.config.image_features, cameras, strict=True))
        return {**own, **stacked, OBS_STATE: self._states(batch), OBS_IMAGES: torch.stack(cameras, -4)}

    def _states(self, batch: Batch) -> Float[Tensor, "b n s"]:
        """A single observation is the first of an episode: LeRobot repeats it."""
        state: Tensor = batch[OBS_STATE]
        return state if state.ndim == 3 else state[:, None].expand(-1, self.policy.config.n_obs_steps, -1)


class _Noise(TorchFunctionMode):
    """In here LeRobot draws this noise, wherever it asks for normal numbers of its shape."""

    def __init__(self, noise: Tensor) -> None:
        super().__init__()
        self.noise = noise

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Answers ``randn`` and ``randn_like`` of the shape; the rest is torch's."""
        if func in (torch.randn, torch.randn_like):
            return self.noise.clone()
        return func(*args, **(kwargs or {}))


@contextmanager
def _times(objective: Any, s: Tensor) -> Iterator[None]:
    """In here LeRobot trains at these times, which are its own: 0 noise, 1 action."""
    objective._sample_timesteps = lambda size, device: s.to(device)
    try:
        yield
    finally:
        del objective._sample_timesteps
