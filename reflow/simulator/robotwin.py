"""RoboTwin 2.0 (two arms, 14 joints): what LeRobot's wrapper leaves to be said.

The environment is LeRobot's own, ``env.type=robotwin``. Here are the names that policies give its three cameras,
and what to install where its runtime (SAPIEN) is missing. RoboTwin renders at every step; nothing here changes that.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection
from pathlib import Path

from reflow.errors import NotInstalledError
from reflow.simulator.cameras import camera_map as _camera_map

CAMERAS = (
    "observation.images.head_camera",
    "observation.images.left_camera",
    "observation.images.right_camera",
)
"""Above, left wrist, right wrist: as the environment names them, and policies trained on its own recordings."""

_POLICY_NAMES = (
    # lerobot/smolvla_base and what is fine-tuned from it
    ("observation.images.camera1", "observation.images.camera2", "observation.images.camera3"),
    # RoboTwin recordings converted with the scripts for ALOHA
    (
        "observation.images.cam_high",
        "observation.images.cam_left_wrist",
        "observation.images.cam_right_wrist",
    ),
)


def camera_map(wanted: Collection[str]) -> dict[str, str]:
    """Which camera of RoboTwin is which of a policy's (:func:`reflow.simulator.cameras.camera_map`)."""
    return _camera_map(CAMERAS, _POLICY_NAMES, wanted)


def check_runtime(task: str) -> None:
    """Looks for RoboTwin's task modules, without importing anything of it.

    Args:
        task: name of a RoboTwin task, or several with commas between them.

    Raises:
        NotInstalledError: they cannot be imported; the message says what to install.
    """
    found = importlib.util.find_spec("envs")
    folders = (found.submodule_search_locations if found is not None else None) or []
    for name in (part.strip() for part in task.split(",")):
        if any(Path(folder, f"{name}.py").is_file() for folder in folders):
            continue
        raise NotInstalledError(
            f"env.type=robotwin needs RoboTwin 2.0 beside LeRobot, and its module envs.{name} is not on PYTHONPATH. "
            "On Linux with an NVIDIA GPU: git clone https://github.com/RoboTwin-Platform/RoboTwin && cd RoboTwin && "
            "bash script/_install.sh && bash script/_download_assets.sh (SAPIEN, CuRobo, mplib, assets; 20 minutes), "
            'then export PYTHONPATH="$PYTHONPATH:$PWD". See https://huggingface.co/docs/lerobot/robotwin'
        )
