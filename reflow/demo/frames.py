"""The size at which demonstrations are stored: what SmolVLA makes of the stock frame, and nothing less.

SmolVLA shrinks every frame by bilinear sampling without antialiasing and pads it to a square. Storing the
frame after that sampling loses nothing the policy could have seen, and is 40 times smaller.
"""

import numpy as np
import torch
import torch.nn.functional as F

from reflow.demo.scene import FRAME_HEIGHT, FRAME_WIDTH
from reflow.errors import UserError

RECORD_HEIGHT, RECORD_WIDTH = 72, 96  # pixels; what resize_imgs_with_padding=(96, 96) makes of 480x640


def shrink_frame(frame: np.ndarray) -> np.ndarray:
    """Samples a frame as `resize_with_pad(frame, 96, 96)` of LeRobot does, without the padding.

    Args:
        frame: (480, 640, 3) uint8.

    Returns:
        (72, 96, 3) uint8, rounded to the nearest level.
    """
    if frame.dtype != np.uint8 or frame.shape != (FRAME_HEIGHT, FRAME_WIDTH, 3):
        raise UserError(
            f"frame is {frame.dtype} {frame.shape}; it must be uint8 {(FRAME_HEIGHT, FRAME_WIDTH, 3)}, as "
            "the stock camera gives it."
        )
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255.0
    small = F.interpolate(image, size=(RECORD_HEIGHT, RECORD_WIDTH), mode="bilinear", align_corners=False)
    # The samples are multiples of 1/36 of a level: nudging the ties up keeps float noise, which varies with
    # the number of threads, from deciding them.
    levels = torch.floor(small[0] * 255.0 + 0.501)
    return levels.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
