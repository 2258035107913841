"""Every command on a page is run by a test, or is said to need what a test does not have (``tests/commands.py``)."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from tests.builders import make_dataset, make_teacher_folder, repo_id
from tests.commands import ON_SMALL_INPUTS, ROOT, ROWS, Needs, answers, shown
from tests.distill.conftest import SMALL
from tests.evaluation.test_evaluate import SMALL as SMALL_EVALUATION

_HERE = sorted({one.text for one in shown() if answers(one.text) == ON_SMALL_INPUTS})
_OWN = {  # what a command is given in the place of what a reader has
    "train": ("trainer.accelerator=cpu", "trainer.devices=1", *SMALL),
    "evaluate": ("device=cpu", *SMALL_EVALUATION),
    "diagnose": ("data.val_frames=4", "data.batch_size=3"),
    "pairs": ("trainer.accelerator=cpu", "trainer.devices=1", "data.batch_size=4", "samples_per_shard=4"),
    "report": (),
}
_LEFT_OUT = re.compile(  # inputs, the sweep's own words, and compiling, which takes longer than all the rest
    r"-m$|(teacher|student|pairs)\.path=|data\.(repo_id|root|mixture)=|(run_dir|name|env|velocity|grown_from)="
)


def test_every_command_is_answered_for() -> None:
    unanswered = [one for one in shown() if answers(one.text) is None]
    assert unanswered == [], "add a row to tests/commands.py, or make the command one that it has"


def test_every_answer_is_needed_and_names_a_test_that_is_there() -> None:
    commands = [one.text for one in shown()]
    assert len(commands) > 80
    needed = {next(n for n, (pattern, _) in enumerate(ROWS) if re.match(pattern, text)) for text in commands}
    assert [ROWS[n] for n in range(len(ROWS)) if n not in needed] == []
    for _, who in ROWS:
        if not isinstance(who, Needs):
            file, _, name = who.partition("::")
            text = (ROOT / file).read_text()
            assert re.search(rf"^def {name}\(" if name else "^def test_", text, re.MULTILINE), who


def test_targets_of_make_are_there() -> None:
    named = {text.split()[1] for one in shown() if re.match(r"make \w", text := one.text)}
    there = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= there
    demo = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "python -m reflow.train +fix=full32" in demo


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A teacher, its data, a student of it, and a cache of its pairs."""
    folder = tmp_path_factory.mktemp("inputs")
    # wider than its actions, so that there are matrices for Muon
    teacher = make_teacher_folder(folder / "pretrained_model", num_steps=4, expert_width_multiplier=1.5)
    data = make_dataset(folder / "set")
    own = {"teacher.path": str(teacher), "data.repo_id": repo_id(data), "data.root": str(data)}
    run("train", "+fix=full32", f"run_dir={folder / 'run'}", *as_words(own), *_OWN["train"])
    run("pairs", "+fix=full32", f"run_dir={folder / 'pairs'}", *as_words(own), *_OWN["pairs"], "draws=8")
    return own | {"student.path": str(folder / "run"), "pairs.path": str(folder / "pairs")}


def run(name: str, *arguments: str) -> None:
    argv, sys.argv, code = sys.argv, [name, *arguments], 0
    try:
        import_module(f"reflow.{name}").main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = argv
    assert code == 0 or (name == "diagnose" and code == 1)  # findings: the teacher's weights are random


def as_words(own: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in own.items()]


def made_small(command: str, inputs: dict[str, str], folder: Path) -> tuple[str, list[str]]:
    """A command's module, and its words with a reader's inputs replaced by small ones; the first job of a sweep."""
    module, *words = shlex.split(command)
    name = module.rpartition(".")[2]
    if name == "report":
        return name, [f"runs=[{inputs['student.path']}]", f"run_dir={folder}", *words[1:]]
    if "--help" in words or "--cfg" in words:
        return name, words
    kept = [word for word in words if not _LEFT_OUT.match(word)]
    kept = [re.sub(r"^((?:\+fix|seed)=[^,\[]+),.*", r"\1", word) for word in kept]
    kept = [re.sub(r"(max_delay)=\d+", r"\1=2", word) for word in kept]  # a chunk has 8 actions there
    keys = {word.partition("=")[0] for word in _OWN[name]}
    kept = [word for word in kept if word.partition("=")[0] not in keys]
    unasked = {"student.path"} if name != "evaluate" else set()
    unasked |= (
        {"pairs.path"}
        if name != "train" or "pairs.path=" not in command or "+experiment" in command
        else set()
    )
    given = {key: value for key, value in inputs.items() if key not in unasked}
    return name, [*kept, *_cached(name, command), *as_words(given), f"run_dir={folder}", *_OWN[name]]


def _cached(name: str, command: str) -> list[str]:
    """What an experiment names that is not there: its cache, its mixture, its environment, its compiled velocity."""
    if name != "train" or "+experiment" not in command:
        return []
    return ["env=null", "pairs.path=null", "velocity=null", "data.mixture=null", "data.look_within=1"]


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize("command", _HERE)
def test_commands_run_on_small_inputs(
    command: str, inputs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, words = made_small(command, inputs, tmp_path / "made")
    run(name, *words)
    left: dict[str, Callable[[], bool]] = {
        "train": (tmp_path / "made" / "metrics.json").is_file,
        "evaluate": (tmp_path / "made" / "metrics.json").is_file,
        "pairs": (tmp_path / "made" / "manifest.json").is_file,
        "report": (tmp_path / "made" / "comparison.md").is_file,
        "diagnose": lambda: True,
    }
    assert "--help" in words or "--cfg" in words or left[name]()
    assert capsys.readouterr().out
