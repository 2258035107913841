"""A shrunk frame is what a SmolVLA makes of the camera's frame, to the nearest level."""

import numpy as np
import pytest
import torch
from lerobot.policies.common.vla_utils import resize_with_pad

from reflow.data.shrink import shrink_frame, shrunk_size


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def policy_sees(frame: np.ndarray, box: int) -> torch.Tensor:
    image = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255
    return resize_with_pad(image, box, box, pad_value=0)


@pytest.mark.parametrize(
    ("height", "width", "box", "size"),
    [(480, 640, 96, (72, 96)), (480, 480, 96, (96, 96)), (360, 240, 64, (64, 42))],
)
def test_it_loses_nothing_the_policy_would_have_seen(height, width, box, size):
    frame = noise(height, width)
    small = shrink_frame(frame, box)
    assert small.shape == (*size, 3) == (*shrunk_size(height, width, box), 3)
    torch.testing.assert_close(policy_sees(small, box), policy_sees(frame, box), rtol=0, atol=0.502 / 255)


def test_a_fifth_is_every_fifth_pixel():
    """480 to 96 samples the middle of every five: nothing is rounded, the policy sees the same to the last bit."""
    frame = noise(480, 480)
    np.testing.assert_array_equal(shrink_frame(frame, 96), frame[2::5, 2::5])
    assert torch.equal(policy_sees(shrink_frame(frame, 96), 96), policy_sees(frame, 96))


def test_it_does_not_depend_on_the_number_of_threads():
    """One thread or two sum in another order; ties between two levels must not turn on that."""
    frame, before, shrunk = noise(480, 640), torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        shrunk.append(shrink_frame(frame, 96))
    torch.set_num_threads(before)
    np.testing.assert_array_equal(*shrunk)


@pytest.mark.parametrize(
    ("frame", "box", "message"),
    [
        (np.zeros((480, 480), np.uint8), 96, r"it must be uint8 \(height, width, 3\)"),
        (np.zeros((480, 480, 3), np.float32), 96, "frame is float32"),
        (np.zeros((48, 64, 3), np.uint8), 96, r"box=96; allowed for a frame of \(48, 64\): 1 to 64 pixels"),
        (np.zeros((48, 64, 3), np.uint8), 0, "box=0"),
    ],
)
def test_rejects_what_it_cannot_shrink(frame, box, message):
    with pytest.raises(ValueError, match=message):
        shrink_frame(frame, box)
