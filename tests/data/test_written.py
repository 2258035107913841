"""What a data set's metadata and tables say of its frames is held against each other, before LeRobot reads them."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from reflow.data import LeRobotDataModule
from reflow.errors import UserError
from tests.builders import TOP, make_dataset, repo_id

EPISODES = "meta/episodes/chunk-000/file-000.parquet"
TABLE = "data/chunk-000/file-000.parquet"
Change = Callable[[list[Any]], object]


@pytest.fixture
def copy(demos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demos, tmp_path / "a copy"))


@pytest.fixture
def build(policy: Any, preprocess: Any) -> Callable[..., LeRobotDataModule]:
    def build(root: Path, **changes: Any) -> LeRobotDataModule:
        arguments = {"repo_id": repo_id(root), "root": root, "batch_size": 4, "num_workers": 0}
        return LeRobotDataModule(
            policy.config, changes.pop("preprocess", preprocess), **(arguments | changes)
        )

    return build


def column(file: Path, name: str, how: Change) -> None:
    table = pq.read_table(file)
    values = table.column(name).to_pylist()
    how(values)
    place = table.schema.get_field_index(name)
    pq.write_table(
        table.set_column(place, table.schema.field(place), pa.array(values, table.schema.types[place])), file
    )


def put(row: int, value: Any) -> Change:
    return lambda values: values.__setitem__(row, value)


def picture(mode: str, size: tuple[int, int]) -> dict[str, Any]:
    held = io.BytesIO()
    Image.new(mode, size).save(held, "PNG")
    return {"bytes": held.getvalue(), "path": None}


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("episode_index", put(1, 9), r"episode_index of row 1 is 9, .*should be 1"),
        ("dataset_from_index", put(1, 900), r"dataset_from_index of row 1 is 900, .*should be 12"),
        ("dataset_to_index", put(1, None), r"dataset_to_index of episode 1 is missing"),
        ("length", put(1, -3), r"length of episode 1 is -3"),
        ("data/file_index", put(2, None), r"data/file_index of episode 2 is missing"),
    ],
)
def test_episodes_that_are_not_one_behind_the_other(copy, build, name, how, message):
    column(copy / EPISODES, name, how)
    with pytest.raises(UserError, match=message):
        build(copy)


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        (
            "index",
            lambda values: values.reverse(),
            r"row 0 is frame 0 of episode 0 and has index 45; frames have",
        ),
        ("frame_index", put(3, 4), r"row 3 is frame 4 of episode 0 and has index 3"),
        ("index", put(3, None), r"column index has 1 missing value; it says which frame"),
        ("task_index", put(3, None), r"column task_index has 1 missing value"),
    ],
)
def test_frames_that_are_not_where_they_should_be(copy, build, name, how, message):
    column(copy / TABLE, name, how)
    with pytest.raises(UserError, match=message):
        build(copy)


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("mean", [0.0] * 7, r"action\.mean is 7 values; 14 finite numbers"),
        ("std", ["a"] * 14, r"action\.std is \['a'"),
        ("min", [float("nan")] * 14, r"action\.min is \[nan"),
        ("max", 3.0, r"action\.max is 3\.0; 14 finite numbers are expected.*or delete it"),
    ],
)
def test_statistics_of_the_data_that_are_none(copy, build, key, values, message):
    file = copy / "meta/stats.json"
    content = json.loads(file.read_text())
    content["action"][key] = values
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        build(copy)
    file.unlink()  # as the error says
    build(copy)


@pytest.mark.parametrize("at", [99.0, float("nan"), None])
def test_a_frame_of_a_video_at_another_time(build, tmp_path, at):
    root = make_dataset(tmp_path / "films", video=True)
    column(root / TABLE, "timestamp", put(3, at))
    with pytest.raises(
        UserError, match=r"timestamp of episode 0, frame 3 is (99|nan) seconds, .*should be 0\.3"
    ):
        build(root)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (None, r"episode 0, frame 3: .*top has shape none \(it is missing\)"),
        (
            picture("RGBA", (32, 24)),
            r"episode 0, frame 3: .*top has shape \[4, 24, 32\]; pictures of 3 colours",
        ),
    ],
)
def test_a_picture_that_is_none(copy, build, cell, message):
    column(copy / TABLE, TOP, put(3, cell))
    with pytest.raises(UserError, match=message):
        build(copy, preload=True)


def test_pictures_of_several_sizes(copy, build):
    column(copy / TABLE, TOP, put(36, picture("RGB", (64, 48))))
    with pytest.raises(UserError, match=r"pictures of one camera differ in size.*\(24, 32\), \(48, 64\)"):
        list(build(copy, batch_size=10).val_dataloader())


def test_a_preprocessor_that_fails(demos, build):
    def fails(batch: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("words")

    with pytest.raises(
        UserError, match=r"preprocessor fails on data set .*KeyError: 'words'.*policy_preprocessor"
    ):
        next(iter(build(demos, preprocess=fails).val_dataloader()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rename": "x"}, r"data\.rename='x'; allowed: camera names"),
        ({"rename": {TOP: None}}, r"data\.rename=.*None.*; allowed: camera names"),
        (
            {"rename": {"observation.state": TOP}},
            r"\['observation\.state'\], which are no cameras of data set",
        ),
        (
            {"saved_rename": {"observation.state": "x"}},
            r"preprocessor renames .*observation\.state.*only cameras",
        ),
        ({"saved_rename": {TOP: "x"}}, r"cameras do not fit: .*\(renamed: .*top': 'x'\}\)"),
        ({"num_workers": -1}, r"data\.num_workers=-1; allowed: 0 or more"),
        ({"prefetch_factor": 0}, r"data\.prefetch_factor=0; allowed: 1 or more"),
    ],
)
def test_choices_that_cannot_be(demos, build, changes, message):
    with pytest.raises(UserError, match=message):
        build(demos, **changes)
