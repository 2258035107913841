"""``viewer=rerun``: a recording that shows the teacher beside the student, in the viewer of rerun.io.

On held-out episodes, at each look of a deployed policy: what the cameras saw, and the chunk of either policy from the
same noise, joint by joint, over the control steps at which it would be played. Films of the simulator go with them,
where there are some. It is a file, written here; nothing is started and nobody is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from reflow.data import LeRobotDataModule
from reflow.errors import NotInstalledError, UserError
from reflow.files import replace_file
from reflow.probes import Observations
from reflow.probes.observations import STUDENT, TEACHER, Purpose, episode_looks, load_rows

RERUN, RECORDING = "rerun", "teacher_and_student.rrd"
STEP, FILM = "control step", "film"
_COLOURS = {TEACHER: (140, 140, 140), STUDENT: (0, 120, 220)}


@dataclass(frozen=True)
class Look:
    """One look of a deployed policy at the world.

    Attributes:
        start: control step that its chunk begins at, counted through all episodes.
        episode: number of its episode.
        task: in words.
        images: by camera, ``[height, width, 3]``.
        chunks: of either policy, the part that is played, in physical units ``[steps, a]``.
    """

    start: int
    episode: int
    task: str
    images: Mapping[str, UInt8[np.ndarray, "height width 3"]]
    chunks: Mapping[str, Float[np.ndarray, "steps a"]]


def check_viewer(viewer: str | None, episodes: int) -> None:
    """Refuses another viewer than there is.

    Raises:
        UserError: it is none, or there is nothing to show.
        NotInstalledError: its package is missing.
    """
    if viewer is None:
        return
    if viewer != RERUN:
        raise UserError(f"viewer={viewer}; allowed: {RERUN}, or null for none")
    if episodes < 1:
        raise UserError(f"viewer_episodes={episodes}; allowed: 1 or more")
    if find_spec("rerun") is None:
        raise NotInstalledError(
            f"viewer={RERUN} needs rerun, which is not installed: pip install 'reflow[rerun]', or go without "
            "(viewer=null)"
        )


@torch.no_grad()
def looks_of(by: Observations, data: LeRobotDataModule, episodes: int) -> Iterator[Look]:
    """Looks of the first held-out episodes, in order of time; both policies start from the same noise.

    Args:
        by: the two, with their postprocessors.
        data: its held-out episodes are looked at.
        episodes: how many of them.
    """
    played = int(by.policies[TEACHER].config.n_action_steps)
    start = 0
    for rows in episode_looks(data, played)[:episodes]:
        number = 0
        for batch in load_rows(data, rows):
            seen = by.see(batch)
            noise = seen.noise(Purpose.MOTION, 1)
            chunks = {
                who: seen.physical(who, seen.walk(who, noise)[:, 0])[:, :played] for who in (TEACHER, STUDENT)
            }
            for place in range(len(seen.sample)):
                frame = data.held_out.frames[rows[number]]
                yield Look(
                    start=start + number * played,
                    episode=int(data.held_out.frames.owners[rows[number]]),
                    task=str(frame.get("task", "")),
                    images={key: _picture(value) for key, value in frame.items() if _is_picture(value)},
                    chunks={who: chunk[place].numpy() for who, chunk in chunks.items()},
                )
                number += 1
        start += number * played


def write_recording(
    path: Path, title: str, looks: Iterator[Look], joints: Sequence[str], films: Sequence[Path] = ()
) -> Path:
    """Writes the recording; the viewer shows it with ``rerun FILE``.

    Args:
        path: of the file, whole or not there.
        title: of the recording.
        looks: in order.
        joints: names of the real dimensions.
        films: ``.mp4`` files of the simulator.

    Raises:
        UnwritableError: it cannot be written there.
    """
    import rerun as rr

    places = [f"joints/{number:02d}_{_plain(joint)}" for number, joint in enumerate(joints)]

    def write(staged: Path) -> None:
        recording = rr.RecordingStream("reflow", recording_id=_plain(title))
        recording.save(staged)
        for place in places:
            for who, colour in _COLOURS.items():
                line = rr.SeriesLines(colors=[colour], names=[who], widths=[2])
                recording.log(f"{place}/{who}", line, static=True)
        cameras: dict[str, None] = {}
        for look in looks:
            _log_look(recording, look, places)
            cameras |= dict.fromkeys(look.images)
        for film in films:
            _log_film(recording, film)
        recording.send_blueprint(_layout(places, [*cameras], films=bool(films)))
        recording.flush()
        recording.disconnect()

    return replace_file(path, write)


def _log_look(recording: Any, look: Look, places: Sequence[str]) -> None:
    import rerun as rr

    recording.set_time(STEP, sequence=look.start)
    recording.log("task", rr.TextLog(f"episode {look.episode}: {look.task}"))
    for name, picture in look.images.items():
        recording.log(f"cameras/{_plain(name)}", rr.Image(picture))
    gap = np.sqrt(np.mean((look.chunks[STUDENT] - look.chunks[TEACHER]) ** 2))
    recording.log("distance", rr.Scalars(float(gap)))
    for who, chunk in look.chunks.items():
        times = rr.TimeColumn(STEP, sequence=look.start + np.arange(len(chunk)))
        for place, values in zip(places, chunk.T, strict=True):
            columns = rr.Scalars.columns(scalars=values.astype(float))
            recording.send_columns(f"{place}/{who}", [times], columns)


def _log_film(recording: Any, film: Path) -> None:
    import rerun as rr

    video = rr.AssetVideo(path=film)
    place = f"films/{_plain(film.stem)}"
    recording.log(place, video, static=True)
    stamps = video.read_frame_timestamps_nanos()
    times = rr.TimeColumn(FILM, duration=stamps.astype(float) * 1e-9)
    recording.send_columns(place, [times], rr.VideoFrameReference.columns_nanos(stamps))


def _layout(places: Sequence[str], cameras: Sequence[str], *, films: bool) -> Any:
    """What the viewer shows first: cameras and films at the left, joints at the right."""
    import rerun.blueprint as rrb

    left: list[Any] = [
        rrb.Spatial2DView(origin=f"/cameras/{_plain(name)}", name=_plain(name)) for name in cameras
    ]
    left += [rrb.Spatial2DView(origin="/films", name="in the simulator")] if films else []
    left.append(rrb.TextLogView(origin="/task", name="task"))
    lines = [rrb.TimeSeriesView(origin="/distance", name="distance, all joints")]
    lines += [rrb.TimeSeriesView(origin=f"/{place}", name=place.partition("/")[2]) for place in places]
    return rrb.Blueprint(rrb.Horizontal(rrb.Vertical(*left), rrb.Grid(*lines), column_shares=[1, 2]))


def _plain(name: str) -> str:
    """A name as a step of a path in the recording, which would read other signs as its own."""
    return (
        "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in name) or "_"
    )


def _is_picture(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim in (3, 4) and value.shape[-3] == 3


def _picture(value: Tensor) -> UInt8[np.ndarray, "height width 3"]:
    """The newest frame of a camera, in 8 bit."""
    frame = value[-1] if value.ndim == 4 else value
    if frame.dtype != torch.uint8:
        frame = (frame.clamp(0, 1) * 255).round().to(torch.uint8)
    return frame.permute(1, 2, 0).contiguous().numpy()
