"""Values that are no numbers are found before training, wherever they stand, and the error mends it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from torch.utils.data import DataLoader

from reflow.data import SAMPLE, LeRobotDataModule
from reflow.errors import MissingFileError, UserError
from tests.builders import make_dataset, repo_id

TABLE = "data/chunk-000/file-000.parquet"
STATE, ACTION = "observation.state", "action"
NAN, INF = float("nan"), float("inf")
Build = Callable[..., LeRobotDataModule]


@pytest.fixture
def build(policy: Any, preprocess: Any) -> Build:
    def build(path: Path | None, **changes: Any) -> LeRobotDataModule:
        one = {"repo_id": repo_id(path), "root": path} if path is not None else {}
        arguments = {**one, "batch_size": 4, "num_workers": 0}
        return LeRobotDataModule(policy.config, preprocess, **(arguments | changes))

    return build


def change(
    root: Path, key: str, edit: Callable[[list[Any]], object], kind: pa.DataType | None = None
) -> None:
    """Rewrites a column; episodes begin at rows 0, 12, 21, 36."""
    table = pq.read_table(root / TABLE)
    values = table.column(key).to_pylist()
    edit(values)
    place = table.schema.get_field_index(key)
    column = pa.array(values, kind or table.schema.field(place).type)
    pq.write_table(
        table.set_column(place, table.schema.field(place).with_type(column.type), column), root / TABLE
    )


@pytest.fixture
def copy(demos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demos, tmp_path / "copy"))


def put(row: int, dim: int | None, value: float | None) -> Callable[[list[Any]], None]:
    def edit(values: list[Any]) -> None:
        if dim is None:
            values[row] = value
        else:
            values[row][dim] = value

    return edit


@pytest.mark.parametrize(
    ("key", "row", "dim", "value", "message"),
    [
        (
            STATE,
            13,
            5,
            NAN,
            "observation.state of episode 1, frame 1, joint_5 (dimension 5) is nan; in all 1 such",
        ),
        (STATE, 45, 0, INF, "observation.state of episode 3, frame 9, joint_0 (dimension 0) is inf"),
        (STATE, 13, 5, None, "observation.state of episode 1, frame 1, joint_5 (dimension 5) is missing"),
        (
            STATE,
            13,
            None,
            None,
            "observation.state of episode 1, frame 1 is missing; in all 14 such values in 1",
        ),
        (ACTION, 35, 13, -INF, "action of episode 2, frame 14, joint_13 (dimension 13) is -inf; in all 1"),
    ],
)
def test_what_is_no_number_is_named(build, copy, key, row, dim, value, message):
    change(copy, key, put(row, dim, value), pa.list_(pa.float32()))
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        build(copy)
    assert f"data set local/copy (data.root={copy})" in str(caught.value)
    (pasted,) = re.findall(r"data\.exclude_episodes=(\[.*\])$", str(caught.value))
    left_out = yaml.safe_load(pasted)
    data = build(copy, exclude_episodes=left_out)  # what was suggested mends it
    assert not set(left_out) & {*data.sources[0].train, *data.sources[0].held_out}


def test_all_of_them_are_counted(build, copy):
    def edit(values: list[Any]) -> None:
        values[0][3] = values[1][2] = values[1][3] = values[14][0] = NAN

    change(copy, STATE, edit)
    change(copy, ACTION, put(1, 0, NAN))
    with pytest.raises(
        ValueError,
        match=r"episode 0, frame 0, joint_3 .*in all 5 such values in 3 frames of 2 episodes.*=\[0,1\]$",
    ):
        build(copy)


def test_episodes_that_nobody_looks_at_may_be_broken(build, copy):
    change(copy, STATE, put(13, 5, NAN))
    build(copy, episodes=[0, 2], val_episodes=[3])
    build(copy, exclude_episodes=[1])


@pytest.mark.parametrize(
    ("chosen", "suggested"),
    [
        ({"episodes": [0, 1, 2]}, r"data\.episodes=\[0,2\]$"),
        ({"val_episodes": [1, 3]}, r"data\.val_episodes=\[3\]$"),
        ({"exclude_episodes": [0]}, r"data\.exclude_episodes=\[0,1\]$"),
        (
            {"episodes": [0], "val_episodes": [1]},
            r"take another data set: without those episodes fewer than two",
        ),
    ],
)
def test_the_way_out_fits_what_was_chosen(build, copy, chosen, suggested):
    change(copy, STATE, put(13, 5, NAN))
    with pytest.raises(ValueError, match=suggested):
        build(copy, **chosen)


def test_a_mixture_names_the_entry(build, copy, demos):
    change(copy, STATE, put(13, 5, NAN))
    entries = [{"repo_id": "a", "root": str(demos)}, {"repo_id": "b", "root": str(copy)}]
    with pytest.raises(ValueError, match=r"data set b .*\(exclude_episodes: \[1\] in data\.mixture\[1\]\)$"):
        build(None, mixture=entries)


def test_rows_of_another_width_are_refused(build, copy):
    change(copy, STATE, lambda values: values[3].pop(), pa.list_(pa.float32()))
    with pytest.raises(
        ValueError, match=r"observation\.state has 13 values in a row, meta/info\.json says 14"
    ):
        build(copy)


def test_a_task_that_is_not_there_is_named(build, copy):
    change(copy, "task_index", put(40, None, 7))
    with pytest.raises(
        ValueError, match=r"task_index of episode 3, frame 4 is 7, meta/tasks\.parquet has 2 tasks; .*=\[3\]$"
    ):
        build(copy)


def test_an_episode_without_frames_is_left_out_and_said(build, copy, capsys):
    import json

    file = copy / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    last = table.slice(len(table) - 1).to_pylist()[0]
    last |= {"episode_index": 4, "length": 0, "dataset_from_index": 46, "dataset_to_index": 46}
    pq.write_table(pa.concat_tables([table, pa.Table.from_pylist([last], schema=table.schema)]), file)
    info = json.loads((copy / "meta/info.json").read_text())
    (copy / "meta/info.json").write_text(json.dumps(info | {"total_episodes": 5}))
    data = build(copy)
    assert (data.sources[0].train, data.sources[0].held_out) == ([0, 1, 2], [3])
    assert "note: data set local/copy" in (said := capsys.readouterr().err)
    assert "episodes [4] have no frame; they are left out" in said
    assert sorted(int(s) for batch in data.val_dataloader() for s in batch[SAMPLE]) == list(range(36, 46))
    assert data.sources[0].samples()[0].tolist() == list(range(36))


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("picture", [b"no picture", None, b""])
def test_a_picture_that_does_not_decode_is_named(build, copy, num_workers, picture):
    def edit(values: list[Any]) -> None:
        values[40] = {"bytes": values[40]["bytes"][:60] if picture is None else picture, "path": None}

    change(copy, "observation.images.top", edit)
    data = build(copy, num_workers=num_workers)
    with pytest.raises(
        ValueError,
        match=rf"^data set local/copy \({copy}\): episode 3, frame 4 cannot be read: observation\.images\.top .*"
        r"data\.exclude_episodes=\[3\]",
    ) as caught:
        list(data.val_dataloader())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [UserError, MissingFileError])
def test_what_a_loaders_worker_says_stays_one_line(kind):
    """torch raises it anew with the worker's traceback as the message; also of a pair cache that lacks a file."""

    def collate(items: list[int]) -> None:
        raise kind("shard 3 is missing; make it anew")

    with pytest.raises(kind, match=r"^shard 3 is missing; make it anew$"):
        list(DataLoader(range(4), num_workers=1, collate_fn=collate))  # type: ignore[arg-type]  # is a sequence


def test_a_robot_of_one_joint_is_read(tmp_path):
    """Its column holds numbers, not lists of them."""
    from reflow.data import Source, open_sources
    from reflow.data.health import check_values

    root = make_dataset(tmp_path / "one", action_dim=1, state_dim=1, episodes=2, frames=4)
    (source,) = open_sources([Source(repo_id(root), root)])
    check_values(source)
    change(root, STATE, put(6, None, INF))
    with pytest.raises(
        ValueError, match=r"observation\.state of episode 1, frame 2, joint_0 \(dimension 0\) is inf"
    ):
        check_values(source)
