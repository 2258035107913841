"""Which pairs these are: every field told apart, every change of the data seen."""

import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest

from reflow.endpoints import Identity, Manifest, OtherPairsError, data_content, noise_stream
from reflow.endpoints.layout import Layout, Samples

IDENTITY = Identity(
    "a" * 64,
    "v3.0",
    "b" * 64,
    {},
    "euler",
    10,
    "full",
    0,
    noise_stream(0),
    50,
    32,
    "32-true",
    "highest",
    "shared",
)
MANIFEST = Manifest(IDENTITY, Layout(Samples(((0, 9),)), 4, 2, 2, ((0, 2),)))


@pytest.mark.parametrize("name", [entry.name for entry in fields(Identity)])
def test_each_field_that_differs_is_named(name: str) -> None:
    value = getattr(IDENTITY, name)
    other = replace(
        IDENTITY, **{name: {"a": "b"} if name == "rename" else 77 if isinstance(value, int) else "other"}
    )
    with pytest.raises(
        OtherPairsError, match=rf"holds other pairs .*\n  {name}: .* in the cache, .* asked for; "
    ):
        MANIFEST.check_identity(other, Path("cache"))
    MANIFEST.check_identity(replace(IDENTITY), Path("cache"))


def test_all_differences_stand_in_one_error() -> None:
    other = replace(IDENTITY, seed=1, num_steps=4, teacher_noise="real")
    with pytest.raises(OtherPairsError) as error:
        MANIFEST.check_identity(other, Path("cache"))
    lines = str(error.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:-1]] == ["num_steps", "teacher_noise", "seed"]
    assert "num_steps: 10 in the cache, 4 asked for; teacher.num_steps=..." in lines[1]
    assert "python -m reflow.pairs" in lines[-1]


def test_seeds_have_streams_of_their_own() -> None:
    assert noise_stream(0) == noise_stream(0) != noise_stream(1)


def test_the_noise_of_this_numpy_is_the_one_caches_were_made_with() -> None:
    """Should numpy change its stream, every cache's endpoints belong to noises that nobody can draw any more."""
    assert noise_stream(0)[:16] == "8aea31b0f041e562"


@pytest.fixture
def own(demos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demos, tmp_path / "own"))


def test_the_same_data_elsewhere_are_the_same(demos: Path, own: Path) -> None:
    assert data_content(demos) == data_content(own)
    (own / "meta" / "stats.json").unlink()  # a teacher brings its own statistics
    assert data_content(demos) == data_content(own)


@pytest.mark.parametrize(
    "pattern", ["meta/info.json", "meta/tasks.parquet", "meta/episodes/**/*.parquet", "data/**/*.parquet"]
)
def test_every_change_of_a_table_is_seen(demos: Path, own: Path, pattern: str) -> None:
    file = next(own.glob(pattern))
    file.write_bytes(file.read_bytes() + b" ")
    assert data_content(demos) != data_content(own)


def test_a_video_is_known_by_name_size_and_three_places(own: Path) -> None:
    video = own / "videos" / "observation.images.top" / "chunk-000" / "file-000.mp4"
    video.parent.mkdir(parents=True)
    size = 5 * 2**20
    found = []
    for place in (0, size // 2, size - 1, 3 * 2**20 + 2**19 + 1):
        whole = bytearray(size)
        whole[place] = 1
        video.write_bytes(whole)
        found.append(data_content(own))
    video.write_bytes(bytearray(size))
    zeros = data_content(own)
    assert len({*found[:3], zeros}) == 4
    assert found[3] == zeros  # as the docstring says: a change in between passes
    video.write_bytes(bytearray(size + 1))
    assert data_content(own) != zeros
