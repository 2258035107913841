"""What all commands have in common: help that fits a screen, errors in one line, exit codes, sweeps."""

import copy
import errno
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from reflow import cli
from reflow.cli import entry
from reflow.config_path import CONFIG_DIR
from reflow.errors import MissingFileError, NotInstalledError, UserError
from reflow.schema import schema
from tests.distill.conftest import composed

DEMO = ("embed", "measure", "record", "record_metaworld", "train_teacher")
NAMES = sorted({path.stem for path in Path(CONFIG_DIR).glob("*.yaml")} - {"base"})
Run = Callable[..., int]


def exit_code(main: Callable[[], None]) -> int:
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run(name, *arguments)``: a command in this process, its exit code."""

    def start(name: str, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        return exit_code(import_module(f"reflow.{'demo.' if name in DEMO else ''}{name}").main)

    return start


@pytest.mark.parametrize("name", NAMES)
def test_help_fits_a_screen_and_its_commands_work(
    name: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(name, "--help") == 0
    text = capsys.readouterr().out.strip("\n")
    lines = text.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    commands = re.findall(r"^  python -m (reflow\.\S+)(.*)$", text, re.MULTILINE)
    assert len(commands) == 5
    for module, words in commands:
        there = module.rpartition(".")[2]
        arguments = [word for word in shlex.split(words.partition("   ")[0]) if "=" in word]
        assert composed(
            *[re.sub(r"(fix=\w+|seed=\d),\S+", r"\1", each) for each in arguments], config_name=there
        )
    for choices in re.findall(r"(\w+)=((?:\w+\|)+\w+)", text):
        assert set(choices[1].split("|")) == {
            path.stem for path in Path(CONFIG_DIR, choices[0]).glob("*.yaml")
        }
    keys = text.partition("\nKeys")[2].partition("\n")[2]
    named = re.findall(r"^  ([\w., ]+?)(?:   |$)", keys, re.MULTILINE)
    config = composed(config_name=name)
    for key in ", ".join(named).split(", "):
        assert not re.fullmatch(r"\w+", key) or key in config, key


def test_the_command_line_says_it_too() -> None:
    shown = subprocess.run([sys.executable, "-m", "reflow.report", "--help"], capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "python -m reflow.report runs=[outputs/a,outputs/b]" in shown.stdout


@pytest.mark.parametrize("argument", ["run=a runs=b", "runs=nowhere", "nothing=1", "+nothing=1", "runs=[1"])
def test_what_the_user_has_to_mend_is_one_line(
    argument: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("report", *argument.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err


def test_the_traceback_is_there_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="runs=nowhere matches no run"):
        run("report", "runs=nowhere")


def test_the_environment_is_as_it_was(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    run("report", "runs=nowhere")
    assert "HYDRA_FULL_ERROR" not in os.environ


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        (lambda: 1, 1, ""),
        (lambda: None, 0, ""),
        (KeyboardInterrupt, 130, "interrupted; the same command goes on\n"),
        (UserError("x=1; allowed: 2"), 2, "error: x=1; allowed: 2\n"),
        (MissingFileError("no such folder"), 2, "error: no such folder\n"),
        (NotInstalledError("install it"), 2, "error: install it\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/there"),
            2,
            "error: /there: No space left on device; make room there, or choose another folder (run_dir=...)\n",
        ),
    ],
)
def test_exit_codes(
    ending: object, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {"runs": object, "run_dir": str, "metrics": object, "unfinished": str, "run": object}
    keys |= {"after": object, "evaluations": object}
    keys |= {name: str | None for name, kind in keys.items() if kind is object}
    monkeypatch.setattr(entry, "_commands", {})
    monkeypatch.setattr(ConfigStore.instance(), "repo", copy.deepcopy(ConfigStore.instance().repo))

    @cli.command("report", schema(**keys))
    def main(config: DictConfig) -> int | None:
        if callable(ending) and not isinstance(ending, type):
            return ending()
        raise ending  # type: ignore[misc]  # an exception in all other cases

    monkeypatch.setattr(sys, "argv", ["report"])
    assert exit_code(main) == code
    assert capsys.readouterr().err == said


def test_anything_else_is_a_bug_and_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    monkeypatch.setattr("reflow.report.report", lambda *_, **__: {}["no such key"])
    assert run("report", "runs=nowhere") == 70
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert re.search(r"\nbug: KeyError; .*report it .*\n  report runs=nowhere\n.*reflow \d.*lerobot \d", said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["runs=lab/a=b"],
            """runs=lab/a=b: Hydra reads its value otherwise; quote it .*: "runs='lab/a=b'\"""",
        ),
        (["runs=lab/a (1)/x"], """: "runs='lab/a \\(1\\)/x'\""""),
        (["runs=lab/a", "b"], """b: neither key=value .* quotes: "runs='lab/a b'\""""),
        (["runs=lab/a,b"], """: "runs='lab/a,b'" \\(or, for several values in turn, -m\\)"""),
        (["runs=lab/it's"], r"""quote it .*: "runs='lab/it\\\\'s'\""""),
        (["runs=~/x#1"], """: "runs='~/x#1'\""""),
    ],
)
def test_values_that_hydra_reads_otherwise_come_back_in_quotes_that_work(
    arguments: list[str], said: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("report", *arguments) == 2
    line = capsys.readouterr().err
    assert re.fullmatch(f"error: .*{said}\n", line), line
    again = re.search(r'"runs=.*"(?= \(|\n)', line)
    assert again
    assert run("report", *shlex.split(again.group())) == 2
    assert "matches no run" in capsys.readouterr().err


def test_a_key_of_another_name_today_is_taken_for_it(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("diagnose", "draws=0") == 2
    assert re.search(
        r"note: draws=... is called val_draws now.*\nerror: val_draws=0; allowed", capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--cfg=hydra", "hydra"),
        pytest.param("--hydra-help", "hydra", marks=pytest.mark.slow),
        pytest.param("--info=defaults", "report_schema", marks=pytest.mark.slow),
    ],
)
def test_hydra_s_own_flags_work(flag: str, says: str) -> None:
    """In a process of its own: there Hydra closes every handler of logging, and with absl's pytest's own stream."""
    shown = subprocess.run([sys.executable, "-m", "reflow.report", flag], capture_output=True, text=True)
    assert shown.returncode == 0
    assert says in shown.stdout + shown.stderr


@pytest.mark.parametrize("words", [("env=null",), ("+experiment=objectives", "env=null"), ("+fix=null",)])
def test_null_is_no_choice_of_a_group(
    words: tuple[str, ...], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", *words, "--cfg", "job") == 0
    assert "\nenv: null\n" in capsys.readouterr().out


def test_a_group_that_must_have_a_choice_says_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "objective=null") == 2
    assert "objective" in capsys.readouterr().err


def test_the_shell_completes(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", "reflow-train +fix=ful")
    monkeypatch.setenv("COMP_POINT", "21")
    assert run("train", "-sc", "query=bash") == 0
    assert "+fix=full32" in capsys.readouterr().out


def test_a_sweep_runs_every_job(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", "-m", "runs=nowhere,elsewhere") == 2
    assert capsys.readouterr().err.count("error: runs=nowhere") == 1, "the first error ends it"
    shown = run("train", "-m", "+fix=full32,valid14", "trainer.devices=2")
    assert shown == 2
    assert "trainer.devices=2 under --multirun" in capsys.readouterr().err
