"""Videos that lack frames are refused before training, by their last needed frame."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from reflow.data import SAMPLE, LeRobotDataModule, Source, open_sources
from reflow.data.videos import check_videos
from reflow.quiet import hush
from tests.builders import HEIGHT, TOP, WIDTH, repo_id

VIDEO = f"videos/{TOP}/chunk-000/file-000.mp4"
Check = Callable[..., None]


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes in one video file, at 10 frames a second."""
    root = tmp_path_factory.mktemp("data") / "filmed"
    features: dict[str, Any] = {
        TOP: {
            "dtype": "video",
            "shape": (2 * HEIGHT, 2 * WIDTH, 3),
            "names": ["height", "width", "channels"],
        },
        "note": {"dtype": "string", "shape": (1,), "names": None},
    }
    for key in ("observation.state", "action"):
        features[key] = {"dtype": "float32", "shape": (14,), "names": None}
    hush()
    dataset = LeRobotDataset.create(repo_id(root), 10, features, root=root, use_videos=True)
    rng = np.random.default_rng(0)
    for task in ("one", "two", "three"):
        for _ in range(8):
            dataset.add_frame(
                {
                    TOP: rng.integers(0, 256, (2 * HEIGHT, 2 * WIDTH, 3), dtype=np.uint8),
                    "observation.state": rng.normal(size=14).astype(np.float32),
                    "action": rng.normal(size=14).astype(np.float32),
                    "note": "odd",
                    "task": task,
                }
            )
        dataset.save_episode()
    dataset.finalize()
    return root


@pytest.fixture
def copy(filmed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filmed, tmp_path / "copy"))


def check(root: Path, **chosen: Any) -> None:
    (source,) = open_sources([Source(repo_id(root), root, **chosen)])
    check_videos(source)


def test_a_data_set_of_videos_is_read(filmed, policy, preprocess):
    """Also several tasks, a further text feature, joints without names."""
    data = LeRobotDataModule(policy.config, preprocess, repo_id=repo_id(filmed), root=filmed, num_workers=0)
    stock = LeRobotDataset(repo_id(filmed), root=filmed, video_backend="pyav")
    for batch in data.val_dataloader():
        for sample, picture in zip(batch[SAMPLE].tolist(), batch[TOP], strict=True):
            torch.testing.assert_close(picture, stock[sample][TOP], atol=2 / 255, rtol=0)


def test_whole_videos_pass(filmed):
    check(filmed)


def test_a_video_cut_short_is_refused(copy):
    content = (copy / VIDEO).read_bytes()
    (copy / VIDEO).write_bytes(content[: len(content) // 3])
    with pytest.raises(
        ValueError, match=rf"local/copy .*{VIDEO} .*cut short; episodes \[0, 1, 2\] need more"
    ):
        check(copy)


def test_something_else_is_refused(copy):
    (copy / VIDEO).write_text("no video")
    with pytest.raises(ValueError, match=rf"{VIDEO} does not decode as a video \(.*\); it may be cut short"):
        check(copy)
    (copy / VIDEO).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ValueError, match=rf"{VIDEO} is a pointer of git-lfs"):
        check(copy)


def test_missing_videos_are_refused(copy):
    (copy / VIDEO).unlink()
    with pytest.raises(FileNotFoundError, match=rf"data\.root={copy} is incomplete: {VIDEO} is missing"):
        check(copy)
    shutil.rmtree(copy / "videos")
    with pytest.raises(FileNotFoundError, match=rf"data\.root={copy} is incomplete: videos/ is missing"):
        check(copy)


def test_a_video_that_ends_too_early_names_the_episodes_that_it_lacks(copy):
    """As where another recording's file was put there; the first episodes in it can still be used."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = copy / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    place = table.schema.get_field_index(f"videos/{TOP}/from_timestamp")
    later = pa.array([0.0, 0.8, 4.0], table.schema.field(place).type)
    pq.write_table(table.set_column(place, table.schema.field(place), later), file)
    with pytest.raises(
        ValueError, match=r"ends after 2\.3 of 4\.7 seconds; episodes \[2\] need.*_episodes=\[2\]$"
    ):
        check(copy)
    check(copy, exclude_episodes=[2])
