"""Do the videos hold the frames that the metadata promise? Each file's last needed frame is decoded before training.

That finds files that are cut short or no videos at all; a fault in the middle of one shows when it is decoded.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import av

from reflow.data.health import without
from reflow.data.opened import OpenSource
from reflow.errors import UserError


def check_videos(source: OpenSource) -> None:
    """Refuses videos that lack frames of the chosen episodes.

    Raises:
        UserError: names the file, what is wrong with it, and the episodes in it.
    """
    fps, lengths = source.meta.fps, source.column("length")
    last: dict[Path, dict[int, float]] = defaultdict(dict)  # by file: seconds of each episode's last frame
    for key in source.meta.video_keys:
        begins = source.column(f"videos/{key}/from_timestamp")
        for file, number in zip(source.files_of(key), source.chosen, strict=True):
            last[file][number] = float(begins[number]) + (int(lengths[number]) - 1) / fps
    for file, ends in sorted(last.items()):
        there, what = _reaches(file, max(ends.values()), 0.5 / fps)
        lost = sorted(number for number, at in ends.items() if there is None or at > there + 0.5 / fps)
        if lost:
            raise UserError(
                f"{source.source}: {file} {what}; episodes {lost} need more. Copy it anew, or "
                f"{without(source, lost)}"
            )


def _reaches(file: Path, at: float, tolerance: float) -> tuple[float | None, str]:
    """The time of the last frame that decodes, no later than needed; and what is wrong where that is too early."""
    reached: float | None = None
    try:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            tick = stream.time_base or Fraction(1, av.time_base)
            container.seek(round(at / tick) - 1, backward=True, any_frame=False, stream=stream)
            for frame in container.decode(stream):
                if frame.pts is None:
                    continue
                reached = float(frame.pts * tick)
                if reached >= at - tolerance:
                    break
    except (av.FFmpegError, IndexError) as error:
        why = getattr(error, "strerror", None) or "no video in it"
        return reached, f"does not decode as a video ({why}); it may be cut short"
    return reached, "is cut short" if reached is None else f"ends after {reached:.3g} of {at:.3g} seconds"
