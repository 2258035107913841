"""A cache of two data sets takes over what one of the first holds, and nothing that is not the same."""

import os
from pathlib import Path

import pytest

from reflow.endpoints.manifest import MANIFEST
from reflow.errors import MissingFileError, UserError
from reflow.pairs import generate
from tests.builders import make_dataset, make_teacher_folder, repo_id
from tests.distill.conftest import composed
from tests.endpoints.conftest import content

HOW = (
    "+fix=full32",
    "draws=2",
    "store=prefix",
    "samples_per_shard=4",
    "data.batch_size=2",
    "trainer.accelerator=cpu",
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model", num_steps=2)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    scratch = tmp_path_factory.mktemp("sets")
    return make_dataset(scratch / "one", frames=9), make_dataset(scratch / "two", frames=8, seed=1)


def made(teacher: Path, folder: Path, *roots: Path, how: tuple[str, ...] = HOW) -> Path:
    mixture = ",".join(f"{{repo_id:{repo_id(root)},root:{root}}}" for root in roots)
    words = [*how, f"teacher.path={teacher}", f"data.mixture=[{mixture}]", f"run_dir={folder}"]
    return generate(composed(*words, config_name="pairs"), words)


@pytest.fixture(scope="module")
def smaller(teacher: Path, sets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(teacher, tmp_path_factory.mktemp("pairs") / "smaller", sets[0])


def test_grown_it_is_the_cache_that_it_would_have_been(
    teacher: Path, sets: tuple[Path, Path], smaller: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grown = made(teacher, tmp_path / "grown", *sets, how=(*HOW, f"grown_from={smaller}"))
    assert (
        "12 shards are those of" in capsys.readouterr().out
    )  # 27 observations: six full shards of two kinds
    afresh = made(teacher, tmp_path / "afresh", *sets)
    ours, theirs = content(grown), content(afresh)
    assert ours.pop(MANIFEST) != theirs.pop(MANIFEST)  # which names its command
    assert ours == theirs
    names = [path.relative_to(smaller) for path in smaller.rglob("*.safetensors")]
    shared = [name for name in names if os.path.samefile(smaller / name, grown / name)]
    assert len(shared) == 12
    made(teacher, tmp_path / "grown", *sets, how=(*HOW, f"grown_from={smaller}"))
    assert "0 shards are those of" in capsys.readouterr().out


def test_what_is_not_the_same_is_not_taken(
    teacher: Path, sets: tuple[Path, Path], smaller: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        UserError, match=r"holds other pairs than the first of these data sets have; .*\n.*data_content"
    ):
        made(teacher, tmp_path / "turned", *reversed(sets), how=(*HOW, f"grown_from={smaller}"))
    with pytest.raises(UserError, match=r"holds other pairs.*\n.*seed: 0 in the cache, 1 asked for"):
        made(teacher, tmp_path / "seed", *sets, how=(*HOW, "seed=1", f"grown_from={smaller}"))
    with pytest.raises(UserError, match=r"was made with batch_size=2, this cache with 3; make them alike"):
        made(teacher, tmp_path / "batch", *sets, how=(*HOW, "data.batch_size=3", f"grown_from={smaller}"))
    with pytest.raises(MissingFileError, match=r"grown_from=.*holds no pair cache"):
        made(teacher, tmp_path / "none", *sets, how=(*HOW, f"grown_from={tmp_path}"))
    assert list(tmp_path.iterdir()) == []  # bad input leaves no folder behind
