"""LIBERO (a Panda arm, 7 action dimensions): what LeRobot's wrapper leaves to be said.

The environment is LeRobot's own, ``env.type=libero``. Here are the names that policies give its two cameras, what to
get where its package or its meshes are missing, and how an episode becomes that of its seed. It renders at every
step; nothing here changes that.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import gymnasium

from reflow.errors import NotInstalledError
from reflow.simulator.cameras import camera_map as _camera_map

CAMERAS = ("observation.images.image", "observation.images.image2")
"""In front, and at the wrist."""

_POLICY_NAMES = (
    ("observation.images.camera1", "observation.images.camera2"),
)  # smolvla_base and its offspring

_MESHES = ("articulated_objects", "stable_scanned_objects", "turbosquid_objects", "stable_hope_objects")


def camera_map(wanted: Collection[str]) -> dict[str, str]:
    """Which camera of LIBERO is which of a policy's (:func:`reflow.simulator.cameras.camera_map`)."""
    return _camera_map(CAMERAS, _POLICY_NAMES, wanted)


def check_runtime(task: str) -> None:
    """Looks for the package, its settings and its meshes, without importing anything of it.

    Where they are missing the package asks questions on the terminal and downloads, in every worker process.

    Raises:
        NotInstalledError: one of them is not there; the message says how to get it.
    """
    found = importlib.util.find_spec("libero")
    if found is None:
        raise NotInstalledError(
            "env.type=libero needs the package libero, which is not installed: pip install 'lerobot[libero]'"
        )
    settings = Path(os.environ.get("LIBERO_CONFIG_PATH", Path.home() / ".libero"), "config.yaml")
    if not settings.is_file():
        raise NotInstalledError(
            f"env.type=libero needs {settings}, which its package writes on the first import: "
            "echo N | python -c 'import libero.libero'"
        )
    home = Path.home() / ".cache/libero/assets"
    package = [Path(folder, "libero/assets") for folder in found.submodule_search_locations or ()]
    if not any(all((folder / name).is_dir() for name in _MESHES) for folder in (*package, home)):
        raise NotInstalledError(
            f"env.type=libero needs LIBERO's meshes in {home}: "
            f"hf download --repo-type dataset lerobot/libero-assets --local-dir {home}"
        )


class EpisodeOfSeed(gymnasium.Wrapper):
    """Starts each episode in the initial state of its seed.

    Stock takes the next of the suite's initial states at every reset, so that an episode depends on how many were
    played before. With seeds 0, 1, 2, ... the two are the same.
    """

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets; a seed chooses the initial state, modulo their number."""
        if seed is not None:
            self.unwrapped.init_state_id = seed  # type: ignore[attr-defined]  # LeRobot's LiberoEnv has it
        return super().reset(seed=seed, options=options)
