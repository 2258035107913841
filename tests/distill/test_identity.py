"""What a run is told by, what its figures may be, and what is not installed."""

import importlib.util
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reflow.config.installed import check_loggers
from reflow.config.run_folder import OtherRunError, RunFolder
from reflow.config.runs import read_metrics as read_run
from reflow.distill.summary import print_summary
from reflow.errors import NotInstalledError, UserError
from reflow.evaluation.result_folder import ResultFolder
from reflow.files import read_metrics, write_json
from reflow.reports.folder import report_on
from tests.builders import make_dataset, make_teacher_folder, repo_id
from tests.distill.conftest import composed

Run = Callable[..., dict[str, float]]


def test_another_data_set_under_the_same_path_is_refused_moved_data_are_not(run: Run, tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "set", seed=0)
    mine = ("+fix=full32", "trainer.max_steps=1", f"data.repo_id={repo_id(root)}")
    first = run(*mine, f"data.root={root}")
    root.rename(tmp_path / "moved")
    assert run(*mine, f"data.root={tmp_path / 'moved'}") == first
    assert run(*mine, f"data.root={root}") == first  # gone: a finished run needs them no more
    make_dataset(root, seed=1)
    with pytest.raises(
        OtherRunError, match=r"(?s)data_content: \w+ there, \w+ now.*data set under that path is another one"
    ):
        run(*mine, f"data.root={root}")
    record = tmp_path / "run" / "run.json"  # as runs of before wrote it
    content = json.loads(record.read_text())
    del content["data_content"]
    record.write_text(json.dumps(content))
    assert run(*mine, f"data.root={root}") == first
    with pytest.raises(OtherRunError, match=r"data\.root: "):
        run(*mine, f"data.root={tmp_path / 'moved'}")


@pytest.mark.parametrize("content", ["", '{"seed": 1', "[1]"])
def test_a_broken_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json (is no JSON|holds no names and values)"):
        RunFolder(tmp_path).check({})
    (tmp_path / "metrics.json").write_text(content)
    (tmp_path / "pretrained_model").mkdir()
    with pytest.raises(UserError, match=r"metrics\.json (is no JSON|holds a list; allowed: an object)"):
        RunFolder(tmp_path).finished()


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"half")])
def test_a_run_whose_student_is_damaged_is_not_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object]
) -> None:
    run = RunFolder(tmp_path)
    run.finish({"a": 1.0})
    make_teacher_folder(run.student)
    assert run.finished() == {"a": 1.0}
    damage(run.student / "model.safetensors")
    assert run.finished() is None
    assert "model.safetensors" in (said := capsys.readouterr().err)
    assert "It is delivered again, from the run's last checkpoint" in said


def test_a_run_s_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(OtherRunError, match=r"run_dir=.*run is a file; choose a folder"):
        RunFolder(tmp_path / "run").check({})


@pytest.mark.parametrize("content", ['{"a": "x"}', '{"a": {"b": 1}}'])
def test_figures_that_are_no_numbers(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(UserError, match=r"metrics\.json holds no names and numbers: a is .*leave"):
        read_run(tmp_path)


def test_figures_that_are_not_finite_are_null_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = {
        "student/endpoint_error@1": math.nan,
        "teacher/endpoint_error@1": math.inf,
        "deploy/loss": math.nan,
        "train/loss": 0.5,
    }
    run = RunFolder(tmp_path)
    run.finish(metrics)
    said = capsys.readouterr().err
    assert "warning: 3 figures are not finite, and null in" in said
    assert "deploy/loss, student/endpoint_error@1, teacher/endpoint_error@1" in said
    assert json.loads((tmp_path / "metrics.json").read_text())["deploy/loss"] is None
    make_teacher_folder(run.student)
    found = run.finished()
    assert found is not None
    assert math.isnan(found["deploy/loss"])
    assert found["train/loss"] == read_run(tmp_path)["train/loss"] == 0.5
    print_summary(found, tmp_path)
    report_on(tmp_path)
    assert (tmp_path / "report.html").is_file()
    ResultFolder(tmp_path / "evaluation").finish(metrics)
    assert math.isnan(read_metrics(tmp_path / "evaluation" / "metrics.json")["deploy/loss"])
    assert "figures are not finite" in capsys.readouterr().err


def test_bare_nan_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": math.nan})


def test_a_logger_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(
        "reflow.config.installed.find_spec",
        lambda name: None if name == "wandb" else importlib.util.find_spec(name),
    )
    with pytest.raises(NotInstalledError, match=r"logger\.wandb needs wandb.*pip install 'reflow\[wandb\]'"):
        check_loggers(composed("logger=wandb"))
    check_loggers(composed())
    check_loggers(composed("logger=wandb", "logger.wandb=null"))
