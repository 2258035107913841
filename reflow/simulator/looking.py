"""Cameras are rendered when the policy looks, not at every control step.

A policy that plays 50 actions of each chunk needs one frame in 50. An environment that knows how to leave the
others out is a :class:`RendersOnLook`; the demo's own is one, gym-aloha's and Meta-World's are made into one here.
Every other environment renders as it always does.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from reflow.simulator.gl import no_render_error

type Observation = dict[str, Any]


@runtime_checkable
class RendersOnLook(Protocol):
    """An environment whose steps need not render.

    Attributes:
        render_steps: set to False, the pixels that ``reset`` and ``step`` return mean nothing.
    """

    render_steps: bool

    def observe(self) -> Observation:
        """The present observation, rendered: what the last ``step`` would have returned."""
        ...


def render_on_look(vector: Any) -> Callable[[], Observation] | None:
    """Stops an environment from rendering at its steps.

    Args:
        vector: a ``VectorEnv`` of one environment, as LeRobot's factory makes it.

    Returns:
        What gives the present observation of the batch, rendered; None where nothing is known about this
        environment, which then goes on as before.
    """
    environments: Sequence[Any] = getattr(vector, "envs", ())
    if len(environments) != 1:
        return None
    env = environments[0].unwrapped
    quiet = _QUIET.get(f"{type(env).__module__}.{type(env).__qualname__}")
    looking = quiet(env) if quiet is not None else env
    if not isinstance(looking, RendersOnLook):
        return None
    looking.render_steps = False
    return lambda: _batch_of_one(looking.observe())


class _QuietAloha:
    """gym-aloha's environment, which renders three cameras a step and shows one of them."""

    def __init__(self, env: Any) -> None:
        self.render_steps = True
        self._env = env
        self._task = env._env.task
        self._stock = self._task.get_observation
        self._black = np.zeros((480, 640, 3), np.uint8)
        self._task.get_observation = self._get_observation

    def observe(self) -> Observation:
        try:
            frame = self._env._env.physics.render(height=480, width=640, camera_id="top")
        except (ImportError, AttributeError, RuntimeError) as error:
            raise no_render_error(error) from error
        return self._env._format_raw_obs(self._raw(frame))

    def _get_observation(self, physics: Any) -> Observation:
        return self._stock(physics) if self.render_steps else self._raw(self._black)

    def _raw(self, frame: np.ndarray) -> Observation:
        return {"qpos": self._task.get_qpos(self._env._env.physics), "images": {"top": frame}}


class _QuietMetaworld:
    """LeRobot's Meta-World, which renders after every step, at every reset, and twice where an episode succeeds.

    Its renderer draws into whichever GL context was made current last, and what it holds is deleted from whichever is
    current when Python collects it: of several environments in one process, stock shows frames of another one, or
    empty ones. Here each makes its own context current, to render and to close.

    Success begins the next episode within the same step, so the frame at the end of an episode cannot be looked at.
    What has rendered lives until it is closed, at the latest at exit, before EGL itself ends.
    """

    def __init__(self, env: Any) -> None:
        self.render_steps = True
        self._env, self._format, self._frame, self._end = env, env._format_raw_obs, env.render, env.close
        self._black = np.zeros(env.observation_space["pixels"].shape, np.uint8)
        env._format_raw_obs, env.render, env.close = self._format_raw_obs, self._render, self._close

    def observe(self) -> Observation:
        self._make_current()
        return self._format(self._raw)

    def _format_raw_obs(self, raw: np.ndarray) -> Observation:
        self._raw = raw
        if self.render_steps:
            return self.observe()
        blind = {"pixels": self._black, "agent_pos": raw[:4]}
        return {key: blind[key] for key in self._env.observation_space}

    def _render(self) -> np.ndarray:
        self._make_current()
        return self._frame()

    def _make_current(self) -> None:
        self._env._ensure_env()
        try:
            self._env._env.mujoco_renderer._get_viewer("rgb_array").make_context_current()
            atexit.unregister(self._close)
            atexit.register(self._close)
        except (ImportError, AttributeError, RuntimeError) as error:
            raise no_render_error(error) from error

    def _close(self) -> None:
        atexit.unregister(self._close)
        made = self._env._env
        viewers = {} if made is None else made.mujoco_renderer._viewers
        for viewer in viewers.values():
            viewer.make_context_current()
            viewer.con.free()
        self._end()
        viewers.clear()


_QUIET: dict[str, Callable[[Any], RendersOnLook]] = {
    "gym_aloha.env.AlohaEnv": _QuietAloha,
    "lerobot.envs.metaworld.MetaworldEnv": _QuietMetaworld,
}


def _batch_of_one(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _batch_of_one(entry) for key, entry in value.items()}
    return np.asarray(value)[None]
