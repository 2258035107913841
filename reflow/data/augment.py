"""Frames that look another way at every visit: LeRobot's own image transforms, each a function of identities.

A student learns from what the teacher does with the very frame that it sees, so a changed picture is one more
observation, with a label of its own, and not the old label on a worse picture. Where nobody has a simulator that is a
way to more of them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from lerobot.transforms import ImageTransforms, ImageTransformsConfig

_PURPOSE = 2
"""Part of the key of the numbers: noise has 0 and times 1 (:mod:`reflow.flow.random`)."""


class Augment:
    """Changes the cameras of an observation, all of them alike.

    Args:
        cameras: keys of an item that hold pictures, float in [0, 1].
        seed: of the run; with sample and visit it decides what is changed, and how.
    """

    def __init__(self, cameras: Collection[str], seed: int) -> None:
        self.cameras, self.seed = tuple(cameras), seed
        self.transforms = ImageTransforms(ImageTransformsConfig(enable=True))

    def __call__(self, item: dict[str, Any], sample: int, visit: int) -> dict[str, Any]:
        """The item with other pictures; what it was given stays as it is, and so do torch's generators."""
        key = np.array([self.seed, _PURPOSE], dtype=np.uint64)
        stream = np.random.Philox(key=key, counter=[0, 0, visit, sample])
        drawn = int(stream.random_raw())
        pictures = {}
        for camera in self.cameras:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(drawn)
                pictures[camera] = self.transforms(item[camera])
        return item | pictures
