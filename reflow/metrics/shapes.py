"""The one check that every metric makes of its tensors. Width is `ActionSpace`'s own business."""

from torch import Tensor


def check_chunks(**tensors: Tensor) -> None:
    """Check that named tensors are chunks of one shape, ``[*chunks, h, d]``.

    Args:
        **tensors: What was given, by the name of the argument.

    Raises:
        ValueError: If one has fewer than two dimensions, or another shape than the first.
    """
    (first, expected), *others = tensors.items()
    if expected.ndim < 2:
        raise ValueError(
            f"{first} has shape {tuple(expected.shape)}; allowed: [..., chunk_size, max_action_dim]; "
            "give whole chunks at native width"
        )
    for name, tensor in others:
        if tensor.shape != expected.shape:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}, {first} {tuple(expected.shape)}; they must be "
                "equal: broadcasting would compare chunks that do not belong together"
            )
