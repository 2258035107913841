"""Chosen episodes as video: all contenders side by side, one H.264 file per seed.

Left out: which episodes are worth watching.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reflow.files import replace_file
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.journal import Episode
from reflow.simulator.rollout import Moment, Player
from reflow.simulator.workers import run_jobs

FPS = 25  # of the video; the robot's own speed
HEIGHT = 320  # pixels of a panel, without its label
_LABEL = 44  # pixels
_HOLD = 1.5  # s that the outcome stays
_GOOD, _BAD, _PLAIN = (60, 160, 80), (190, 60, 50), (40, 44, 52)  # of the label's ground


@dataclass(frozen=True)
class Recording:
    """What was seen of one episode.

    Attributes:
        label: who played.
        outcome: how it ended, in words.
        success: whether it did so well.
        frames: each (height, width, 3) uint8, ``FPS`` of them a second.
    """

    label: str
    outcome: str
    success: bool
    frames: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class _Film:
    contenders: tuple[Contender, ...]
    seed: int
    file: Path

    def __str__(self) -> str:
        return f"the video of seed {self.seed}"


def record_videos(
    conditions: Conditions,
    contenders: Sequence[Contender],
    seeds: Sequence[int],
    *,
    folder: Path,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Plays the episodes of some seeds again, rendering all of them.

    Args:
        conditions: as of the evaluation: the episodes are the same ones.
        contenders: from left to right.
        seeds: one video each.
        folder: for ``seed-<n>.mp4``; files of that name are replaced.
        processes: worker processes.
        progress: called with the number of finished videos and of all.

    Returns:
        The files, in the order of the seeds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    films = [_Film(tuple(contenders), seed, folder / f"seed-{seed}.mp4") for seed in seeds]
    for number, _ in enumerate(run_jobs(partial(_make_worker, conditions), films, processes), start=1):
        if progress is not None:
            progress(number, len(films))
    return [film.file for film in films]


def record(player: Player, contender: Contender, seed: int) -> Recording:
    """Plays and watches one episode.

    Args:
        player: of the environment; its control steps need not fit the video's frames.
        contender: who plays.
        seed: of the episode.
    """
    frames: list[np.ndarray] = []

    def watch(now: Moment) -> None:
        due = int(now.step * FPS / player.fps) + 1
        if len(frames) < due:
            frames.extend([_resize(now.frame())] * (due - len(frames)))

    episode, _ = player.play(contender, seed, watch)
    return Recording(contender.label, outcome(episode, player.fps), episode.success, tuple(frames))


def outcome(episode: Episode, fps: float) -> str:
    """How an episode ended: "success after 1.5 s"."""
    how = "success" if episode.success else "no success"
    return f"{how} after {episode.length / fps:.1f} s"


def write_video(file: Path, recordings: Sequence[Recording]) -> None:
    """Writes recordings side by side; the file is there once it is whole.

    Args:
        file: an mp4.
        recordings: from left to right; who ends early waits for the others.
    """
    replace_file(file, partial(_encode, recordings))


def _encode(recordings: Sequence[Recording], staged: Path) -> None:
    longest = max(len(recording.frames) for recording in recordings)
    panels = [_panels(recording) for recording in recordings]
    with av.open(str(staged), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = None
        for number in range(longest + round(_HOLD * FPS)):
            picture = np.concatenate([panel(number) for panel in panels], axis=1)
            if stream is None:
                stream = container.add_stream(
                    "libx264", rate=FPS, options={"crf": "23", "preset": "veryfast"}
                )
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"  # what browsers play
                stream.time_base = Fraction(1, FPS)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        assert stream is not None
        container.mux(stream.encode())


def _make_worker(conditions: Conditions) -> Callable[[_Film], None]:
    player = Player(conditions)

    def make(film: _Film) -> None:
        write_video(film.file, [record(player, contender, film.seed) for contender in film.contenders])

    return make


def _panels(recording: Recording) -> Callable[[int], np.ndarray]:
    """A panel by the number of the video's frame."""
    width = recording.frames[0].shape[1]
    playing = _label(width, recording.label, "", _PLAIN)
    ended = _label(width, recording.label, recording.outcome, _GOOD if recording.success else _BAD)

    def panel(number: int) -> np.ndarray:
        last = len(recording.frames) - 1
        return np.concatenate([playing if number <= last else ended, recording.frames[min(number, last)]])

    return panel


def _label(width: int, who: str, how: str, ground: tuple[int, int, int]) -> np.ndarray:
    strip = Image.new("RGB", (width, _LABEL), ground)
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size=17)
    draw.text((8, 2), who, fill="white", font=font)
    draw.text((8, 22), how, fill="white", font=font)
    return np.asarray(strip)


def _resize(frame: np.ndarray) -> np.ndarray:
    width = round(HEIGHT * frame.shape[1] / frame.shape[0] / 2) * 2  # H.264 wants even sides
    return np.asarray(Image.fromarray(np.asarray(frame, np.uint8)).resize((width, HEIGHT)))
