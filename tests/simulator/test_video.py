"""Chosen episodes side by side, as a file that browsers play."""

import av
import numpy as np
import pytest
import torch

from reflow.demo.pick_env import pick_environment
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.journal import Episode
from reflow.simulator.rollout import Player
from reflow.simulator.video import FPS, HEIGHT, Recording, outcome, record, record_videos, write_video
from tests.builders import make_statistics, make_teacher_folder

PICK = Conditions(pick_environment(episode_length=7))


def read(file) -> tuple[av.video.stream.VideoStream, list[np.ndarray]]:
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        return (stream.codec_context.name, stream.pix_fmt, stream.average_rate), [
            frame.to_ndarray(format="rgb24") for frame in container.decode(stream)
        ]


def grey(level: int, count: int, width: int = 100) -> tuple[np.ndarray, ...]:
    return tuple(np.full((HEIGHT, width, 3), level, np.uint8) for _ in range(count))


def test_side_by_side_until_the_last_is_done(tmp_path):
    recordings = [
        Recording("teacher, 10 steps", "success after 0.2 s", True, grey(60, 5)),
        Recording("student, 1 step", "no success after 0.4 s", False, grey(200, 9, width=120)),
    ]
    write_video(tmp_path / "v.mp4", recordings)
    form, frames = read(tmp_path / "v.mp4")
    assert form == ("h264", "yuv420p", FPS)
    assert len(frames) == 9 + round(1.5 * FPS)
    height, width, _ = frames[0].shape
    assert (height, width) == (HEIGHT + 44, 220)
    for frame in frames:
        np.testing.assert_allclose(frame[60:-5, 5:95].mean(), 60, atol=3)
        np.testing.assert_allclose(frame[60:-5, 110:215].mean(), 200, atol=3)
    strips = [(frame[:40, 5:95].mean((0, 1)), frame[:40, 110:215].mean((0, 1))) for frame in frames]
    playing, one_done, both_done = strips[2], strips[7], strips[-1]
    assert one_done[0][1] > one_done[0][0] + 20  # the teacher's label has turned green ...
    np.testing.assert_allclose(one_done[1], playing[1], atol=5)  # ... the student still plays ...
    assert both_done[1][0] > both_done[1][1] + 20  # ... and then turns red
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.mp4"]


def test_says_how_it_ended():
    episode = Episode("student", 1, 3, True, 4.0, 20.0, 75)
    assert outcome(episode, 50) == "success after 1.5 s"
    assert outcome(Episode("student", 1, 3, False, 0.0, 0.0, 150), 50) == "no success after 3.0 s"


@pytest.mark.slow
def test_films_the_episodes_of_the_evaluation(tmp_path):
    statistics = make_statistics(14, 14)
    statistics["action"] = {"mean": torch.zeros(14), "std": torch.full((14,), 0.1)}
    folder = make_teacher_folder(tmp_path / "policy", statistics=statistics)
    contenders = [Contender("teacher", folder, 2), Contender("student", folder, 1)]
    player = Player(PICK)
    recording = record(player, contenders[0], 100_000)
    assert (recording.label, recording.outcome) == ("teacher, 2 steps", "no success after 0.1 s")
    assert [frame.shape for frame in recording.frames] == [(320, 426, 3)] * 4  # of 7 steps every second one
    player.close()
    told = []
    files = record_videos(
        PICK,
        contenders,
        [100_000, 100_001],
        folder=tmp_path / "videos",
        progress=lambda *count: told.append(count),
    )
    assert [file.name for file in files] == ["seed-100000.mp4", "seed-100001.mp4"]
    assert told == [(1, 2), (2, 2)]
    _, frames = read(files[0])
    shown = frames[0][44:, :426].astype(float)
    assert np.abs(shown - recording.frames[0]).mean() < 6
