"""Every command meets every broken folder: exit code 2, what is wrong is named, nothing is written."""

import re
import shutil
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from tests.builders import make_dataset, make_teacher_folder, repo_id
from tests.inputs.broken import Break
from tests.inputs.kinds import DATA, POLICIES, VIDEO

COMMANDS = ("train", "diagnose", "pairs", "evaluate")
STATED_SECONDS = 60  # refused long before; only a machine that hangs needs more
Refused = Callable[..., str]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """``refused(command, teacher, data, *more)``: the line in which it was refused."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("REFLOW_CACHE", str(here / "cache"))

    def start(command: str, teacher: Path, data: Path, *more: str) -> str:
        given = [f"teacher.path={teacher}", f"data.repo_id={repo_id(data)}", f"data.root={data}", *more]
        given += ["data.num_workers=0"] + (["+fix=full32"] if command in ("train", "pairs") else [])
        monkeypatch.setattr(sys, "argv", [command, *given])
        before = time.monotonic()
        with pytest.raises(SystemExit) as end:
            import_module(f"reflow.{command}").main()
        assert time.monotonic() - before < STATED_SECONDS
        said = capsys.readouterr()
        assert end.value.code == 2, said.err
        assert "Traceback" not in said.err + said.out
        lines = said.err[said.err.index("error: ") :].splitlines()
        assert len(lines) <= 8, "one line, or a short list"
        assert not list(here.iterdir()), "nothing is written"
        return lines[0] if len(lines) == 1 else "\n".join(lines)

    return start


def broken(whole: Path, target: Path, act: Break) -> Path:
    shutil.copytree(whole, target)
    act(target)
    return target


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", POLICIES)
def test_a_broken_teacher(
    what: str, command: str, teacher: Path, data: Path, refused: Refused, tmp_path: Path
) -> None:
    act, names = POLICIES[what]
    bad = broken(teacher, tmp_path / "bad" / "pretrained_model", act)
    more = (f"student.path={teacher}",) if command == "evaluate" else ()
    assert re.search(f"(?s){names}", line := refused(command, bad, data, *more)), line


@pytest.mark.parametrize("what", POLICIES)
def test_a_broken_student(what: str, teacher: Path, data: Path, refused: Refused, tmp_path: Path) -> None:
    act, names = POLICIES[what]
    bad = broken(teacher, tmp_path / "bad" / "pretrained_model", act)
    assert re.search(f"(?s){names}", line := refused("evaluate", teacher, data, f"student.path={bad}")), line


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", DATA)
def test_broken_data(
    what: str, command: str, teacher: Path, data: Path, refused: Refused, tmp_path: Path
) -> None:
    act, names = DATA[what]
    bad = broken(data, tmp_path / "bad", act)
    more = (f"student.path={teacher}",) if command == "evaluate" else ()
    assert re.search(f"(?s){names}", line := refused(command, teacher, bad, *more)), line


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("films") / "set", video=True)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", VIDEO)
def test_broken_videos(
    what: str, command: str, teacher: Path, films: Path, refused: Refused, tmp_path: Path
) -> None:
    act, names = VIDEO[what]
    bad = broken(films, tmp_path / "bad", act)
    more = (f"student.path={teacher}",) if command == "evaluate" else ()
    assert re.search(f"(?s){names}", line := refused(command, teacher, bad, *more)), line
