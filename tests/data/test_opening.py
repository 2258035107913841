"""A data set that cannot be opened: what is wrong with it, in one line, before anything else happens."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from reflow.data import LeRobotDataModule, data_content, load_metadata, open_sources, sources_of
from tests.builders import repo_id

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 100\n"
TABLE, INFO, TASKS = "data/chunk-000/file-000.parquet", "meta/info.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def edit(root: Path, **changes: Any) -> None:
    file = root / INFO
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def cut(root: Path, name: str) -> None:
    content = (root / name).read_bytes()
    (root / name).write_bytes(content[: len(content) // 2])


BROKEN: list[tuple[Callable[[Path], Any], str]] = [
    (lambda root: (root / TABLE).write_text(POINTER), rf"{TABLE} is a pointer of git-lfs, .*git lfs pull$"),
    (lambda root: (root / INFO).write_text(POINTER), rf"{INFO} is a pointer of git-lfs"),
    (lambda root: (root / EPISODES).write_text(POINTER), rf"{EPISODES} is a pointer of git-lfs"),
    (lambda root: (root / TASKS).write_text(POINTER), rf"{TASKS} is a pointer of git-lfs"),
    (lambda root: shutil.rmtree(root / "data"), r"data\.root=.*copy is incomplete: data/ is missing"),
    (lambda root: (root / TABLE).unlink(), rf"is incomplete: {TABLE} is missing; copy the whole folder"),
    (lambda root: shutil.rmtree(root / "meta/episodes"), r"is incomplete: meta/episodes is missing"),
    (lambda root: (root / TASKS).unlink(), rf"is incomplete: {TASKS} is missing"),
    (lambda root: cut(root, INFO), rf"{INFO} is no JSON .*cut short"),
    (lambda root: cut(root, "meta/stats.json"), r"meta/stats\.json is no JSON .*cut short"),
    (lambda root: (root / INFO).write_text("[]"), rf"{INFO} holds no names and values"),
    (lambda root: cut(root, TABLE), rf"{TABLE} cannot be read as parquet .*cut short: copy it anew"),
    (lambda root: cut(root, EPISODES), rf"{EPISODES} cannot be read as parquet"),
    (lambda root: cut(root, TASKS), rf"{TASKS} cannot be read as parquet"),
    (
        lambda root: edit(root, total_episodes=6),
        r"info\.json promises 6 episodes \(total_episodes\), meta/episodes has 4; copy",
    ),
    (
        lambda root: edit(root, total_frames=99),
        r"info\.json promises 99 frames \(total_frames\), meta/episodes has 46; copy",
    ),
    (
        lambda root: (root / INFO).write_text(json.dumps({"codebase_version": "v3.0", "fps": 1})),
        r"info\.json lacks \['data_path', 'features', 'total_episodes', 'total_frames'\]",
    ),
    (lambda root: edit(root, fps=0), r"info\.json: fps is 0; a number is expected"),
    (lambda root: edit(root, total_frames="many"), r"info\.json: total_frames is 'many'; a number is"),
    (lambda root: edit(root, chunks_size=0), r"is not as LeRobot expects it .*lerobot-train"),
    (lambda root: edit(root, features=3), r"info\.json: features is no object of features"),
    (lambda root: edit(root, total_episodes=4.0), r"info\.json: total_episodes is 4\.0; a number is"),
    (lambda root: edit(root, data_path=None), r"info\.json: data_path is None; a path with \{chunk_index\}"),
    (lambda root: edit(root, data_path="{a}"), r"info\.json: data_path is '\{a\}'; a path with"),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN)
def test_a_broken_folder_is_refused_in_one_line(demos, policy, preprocess, tmp_path, damage, message):
    root = Path(shutil.copytree(demos, tmp_path / "a copy"))
    damage(root)
    before = sorted(root.rglob("*"))
    with pytest.raises(ValueError, match=message) as caught:
        LeRobotDataModule(policy.config, preprocess, repo_id="local/copy", root=root, num_workers=0)
    assert "\n" not in str(caught.value)
    assert sorted(root.rglob("*")) == before  # the hub was not asked


def test_a_table_without_a_promised_camera_is_refused(demos, policy, preprocess, tmp_path):
    import pyarrow.parquet as pq

    root = Path(shutil.copytree(demos, tmp_path / "copy"))
    table = pq.read_table(root / TABLE)
    pq.write_table(table.drop_columns(["observation.images.top"]), root / TABLE)
    with pytest.raises(ValueError, match=rf"{TABLE} has no column observation\.images\.top, which meta/info"):
        LeRobotDataModule(policy.config, preprocess, repo_id="local/copy", root=root, num_workers=0)


def test_a_table_with_fewer_frames_than_promised_is_refused(demos, policy, preprocess, tmp_path):
    import pyarrow.parquet as pq

    root = Path(shutil.copytree(demos, tmp_path / "copy"))
    table = pq.read_table(root / TABLE)
    pq.write_table(table.slice(0, len(table) - 1), root / TABLE)
    with pytest.raises(ValueError, match=r"promises 10 frames of episode 3, .*file-000\.parquet has 9; copy"):
        LeRobotDataModule(policy.config, preprocess, repo_id="local/copy", root=root, num_workers=0)


def test_frames_that_are_not_numbered_are_refused(demos, policy, preprocess, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    root = Path(shutil.copytree(demos, tmp_path / "copy"))
    table = pq.read_table(root / TABLE)
    place = table.schema.get_field_index("index")
    zeros = pa.array([0] * len(table), table.schema.field(place).type)
    pq.write_table(table.set_column(place, table.schema.field(place), zeros), root / TABLE)
    with pytest.raises(ValueError, match=r"column index does not number the frames from 0 to 45, each once"):
        LeRobotDataModule(policy.config, preprocess, repo_id="local/copy", root=root, num_workers=0)


def test_a_path_with_blanks_is_read(demos, policy, preprocess, tmp_path):
    root = Path(shutil.copytree(demos, tmp_path / "my own = data"))
    data = LeRobotDataModule(policy.config, preprocess, repo_id=repo_id(root), root=root, num_workers=0)
    assert len(data.train_frames) == 36


def in_two_files(root: Path) -> Path:
    """Puts the later half of the episodes into a second file; returns that."""
    episodes = pq.read_table(root / EPISODES)
    numbers = [0 if number < len(episodes) / 2 else 1 for number in range(len(episodes))]
    place = episodes.schema.get_field_index("data/file_index")
    pq.write_table(episodes.set_column(place, "data/file_index", pa.array(numbers)), root / EPISODES)
    frames = pq.read_table(root / TABLE)
    file = pa.array([numbers[number] for number in frames["episode_index"].to_pylist()])
    second = (root / TABLE).with_name("file-001.parquet")
    for number, path in enumerate((root / TABLE, second)):
        pq.write_table(frames.filter(pc.equal(file, number)), path)
    return second


def test_what_another_run_downloads_makes_no_other_data_set(demos, policy, preprocess, tmp_path, monkeypatch):
    """Of the hub's data sets the files of the chosen episodes count; a local folder is one thing."""
    import lerobot.datasets.dataset_metadata as stock

    monkeypatch.setattr(stock, "HF_LEROBOT_HOME", tmp_path)
    root = Path(shutil.copytree(demos, tmp_path / "me/mine"))
    second = in_two_files(root)

    def content(repo_id: str = "me/mine", root: Path | None = None, **episodes: list[int]) -> str:
        (source,) = open_sources(sources_of({"repo_id": repo_id, "root": root, **episodes}))
        return source.content

    half = {"episodes": [0], "val_episodes": [1]}
    whole = content()
    assert whole == content(root=root) == content(root=root, **half) == data_content(root)
    more = content(**half)
    assert more != whole
    kept = second.read_bytes()
    second.unlink()  # as it was before the other run
    assert content(**half) == more
    second.write_bytes(kept)
    pq.write_table(pq.read_table(root / TABLE), root / TABLE, compression="gzip")
    assert content(**half) != more


def test_a_data_set_in_lerobots_own_folder_is_checked_alike(demos, policy, preprocess, tmp_path, monkeypatch):
    """Named by ``repo_id`` alone; what is missing there would come from the hub, which is not to be had."""
    import lerobot.datasets.dataset_metadata as stock

    monkeypatch.setattr(stock, "HF_LEROBOT_HOME", tmp_path)
    root = Path(shutil.copytree(demos, tmp_path / "me/mine"))
    data = LeRobotDataModule(policy.config, preprocess, repo_id="me/mine", num_workers=0)
    assert data.content == data_content(root)
    edit(root, total_frames=99)
    with pytest.raises(ValueError, match=r"promises 99 frames"):
        load_metadata("me/mine", None)
    edit(root, total_frames=46)
    shutil.rmtree(root / "data")
    with pytest.raises(
        FileNotFoundError, match=r"data\.repo_id=me/mine is neither in LeRobot's cache nor given by"
    ):
        LeRobotDataModule(policy.config, preprocess, repo_id="me/mine", num_workers=0)


def test_no_name_is_refused():
    with pytest.raises(ValueError, match=r"data\.repo_id is null; name one data set"):
        load_metadata(None, None)


def test_without_network_the_hub_is_named_and_the_way_out(monkeypatch):
    """A connection that is refused, as on a machine without network; not the offline mode of the tests."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(
        FileNotFoundError,
        match=r"data\.repo_id=nobody/nothing is neither in LeRobot's cache nor given by the Hugging Face hub "
        r"\(\w+\); for a local data set name its folder with data\.root=\.\.\.$",
    ):
        load_metadata("nobody/nothing", None)
