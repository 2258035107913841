"""The size at which frames are recorded: what SmolVLA makes of the camera's frame, and nothing less.

SmolVLA shrinks every frame by bilinear sampling without antialiasing and pads it to a square. Storing the frame after
that sampling loses nothing the policy could have seen, and is tens of times smaller.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from reflow.errors import UserError


def shrunk_size(height: int, width: int, box: int) -> tuple[int, int]:
    """Height and width of a frame in a square of ``box`` pixels, as LeRobot's ``resize_with_pad`` computes them."""
    ratio = max(width / box, height / box)
    return int(height / ratio), int(width / ratio)


def shrink_frame(frame: np.ndarray, box: int) -> np.ndarray:
    """Samples a frame as ``resize_with_pad(frame, box, box)`` of LeRobot does, without the padding.

    Args:
        frame: uint8 (height, width, 3), as the camera gives it.
        box: pixels of the square, at most the frame's longer side.

    Returns:
        uint8 :func:`shrunk_size` of it and 3, rounded to the nearest level.

    Raises:
        UserError: that is no frame, or it would have to grow.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise UserError(f"frame is {frame.dtype} {frame.shape}; it must be uint8 (height, width, 3)")
    if not 1 <= box <= max(frame.shape[:2]):
        raise UserError(
            f"box={box}; allowed for a frame of {frame.shape[:2]}: 1 to {max(frame.shape[:2])} pixels"
        )
    image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255.0
    size = shrunk_size(frame.shape[0], frame.shape[1], box)
    small = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
    # From 480 to 72 the samples are multiples of 1/36 of a level, from 480 to 96 whole levels: nudging the ties up
    # keeps float noise, which varies with the number of threads, from deciding them.
    levels = torch.floor(small[0] * 255.0 + 0.501)
    return levels.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
