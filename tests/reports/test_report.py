"""The command: run folders in, a comparison or a page out, and every bad input."""

import csv
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from reflow import report
from reflow.config.runs import read_metrics, teacher_names
from reflow.errors import UserError
from reflow.reports.compare import RunComparison
from tests.distill.conftest import composed

FULL = ("padding.noise=full", "padding.target=full", "padding.loss=full")


def make_run(folder: Path, *overrides: str, fingerprint: str = "f", **metrics: float) -> Path:
    """A run folder as ``reflow.train`` leaves it, without the student."""
    config = composed(*overrides, f"run_dir={folder}", f"name={folder.name}")
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"teacher_fingerprint": fingerprint}))
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    found = {"deploy/loss": 0.5, "student/endpoint_error@1": 0.25} | metrics
    (folder / "metrics.json").write_text(json.dumps(found))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two fixes of two seeds."""
    for seed in (0, 1):
        make_run(tmp_path / f"unfixed-{seed}", f"seed={seed}", "data.num_workers=1")
        make_run(tmp_path / f"full-{seed}", f"seed={seed}", *FULL, "data.num_workers=2")
    return tmp_path


def compared(*overrides: str) -> RunComparison:
    found = report.report(composed(*overrides, config_name="report"))
    assert found is not None
    return found


def test_a_pattern_is_compared_and_written(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(f"runs={runs}/*-?", f"run_dir={runs}/out")
    assert found.keys == ("fix",)  # where they lie and how data are read makes no other row
    assert [(row.settings["fix"], len(row.runs)) for row in found.rows] == [("unfixed", 2), ("full32", 2)]
    assert {path.name for path in (runs / "out").iterdir()} == {
        f"comparison.{e}" for e in ("md", "csv", "png", "html")
    }
    assert (runs / "out/comparison.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (runs / "out/comparison.html").read_text()
    assert len(list(csv.DictReader((runs / "out/comparison.csv").open()))) == 4
    assert str(runs / "out/comparison.md") in capsys.readouterr().out


def log(folder: Path, version: int, rows: list[dict[str, float]]) -> None:
    """A log as Lightning's CSV logger writes it: cells are empty where a row has no such figure."""
    place = folder / f"csv/version_{version}"
    place.mkdir(parents=True)
    with (place / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(
            file, ["step", "train/loss", "throughput/seconds", "student/endpoint_error@1"]
        )
        writer.writeheader()
        writer.writerows(rows)


def test_errors_at_equal_seconds_come_from_the_logs(tmp_path: Path) -> None:
    error, seconds = "student/endpoint_error@1", "throughput/seconds"
    for name, pace in (("a", 1.0), ("b", 3.0)):
        folder = make_run(tmp_path / name, f"objective.draws={len(name) + int(pace)}")
        log(folder, 0, [{"step": 4, "train/loss": 1.0}, {"step": 9, seconds: 10 * pace, error: 0.6}])
        # stopped and gone on: step 9 is met again, and stands
        log(
            folder,
            1,
            [{"step": 9, seconds: 10 * pace, error: 0.5}, {"step": 19, seconds: 20 * pace, error: 0.3}],
        )
        os.utime(folder / "csv/version_0/metrics.csv", (0, 0))
    found = compared(f"runs={tmp_path}/?", f"run_dir={tmp_path}/out", "after=equal")
    assert [
        row.values[f"{error} after 20 s"].points for row in found.rows if row.runs[0].name[-1] == "a"
    ] == [(0.3,)]
    assert found.rows[0].runs[0].curves[error].values == (0.5, 0.3)
    assert (tmp_path / "out/comparison_curves.png").read_bytes().startswith(b"\x89PNG")
    later = compared(f"runs={tmp_path}/?", f"run_dir={tmp_path}/out", "after=45")
    assert [f"{error} after 45 s" in row.values for row in later.rows] == [False, True]


@pytest.mark.parametrize("after", ["0", "-3", "soon", "true", "[1]"])
def test_a_time_that_is_none_is_refused(runs: Path, after: str) -> None:
    with pytest.raises(UserError, match=r"after=.*; allowed: seconds of training, or equal"):
        compared(f"runs={runs}/*-?", f"run_dir={runs}/out", f"after={after}")


def test_a_list_is_compared_each_folder_once(runs: Path) -> None:
    found = compared(f"runs=[{runs}/full-0,{runs}/full*]", f"run_dir={runs}/out")
    assert [run.seed for row in found.rows for run in row.runs] == [0, 1]


def test_a_folder_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    make_run(tmp_path / "a").rename(tmp_path / "a[1]")
    assert len(compared(f"runs='{tmp_path}/a[1]'", f"run_dir={tmp_path}/out").rows) == 1


def test_success_of_the_evaluation_is_merged_as_a_whole(tmp_path: Path) -> None:
    rate = "success/student@1"
    folder = make_run(tmp_path / "a", **{rate: 0.5, f"{rate}/episodes": 30.0})
    (folder / "evaluation").mkdir()
    evaluated = {rate: 0.9, f"{rate}/episodes": 100.0, "deploy/loss": 7.0, "latency/student@1/total_p50": 3.0}
    (folder / "evaluation/metrics.json").write_text(json.dumps(evaluated))
    metrics = read_metrics(folder)
    assert (metrics[rate], metrics[f"{rate}/episodes"]) == (0.9, 100.0)
    assert metrics["deploy/loss"] == 0.5  # the run's own
    assert metrics["latency/student@1/total_p50"] == 3.0


@pytest.mark.parametrize(
    ("teachers", "names"),
    [
        ([(None, "f"), ("embedded/teacher_supervised", "g")], ["embedded", "teacher_supervised"]),
        ([("a/x/pretrained_model", "f"), ("b/y/pretrained_model", "g")], ["x", "y"]),
        ([("a/x", "f"), ("b/x", "f")], ["x", "x"]),  # one teacher, in two places
        ([("a/x", "f"), ("b/x", "g")], ["a/x", "b/x"]),
        ([("a/x", "0123456789"), ("a/x", "abcdefghij")], ["a/x (01234567)", "a/x (abcdefgh)"]),
    ],
)
def test_names_of_teachers(teachers: list[Any], names: list[str]) -> None:
    found = teacher_names({Path(str(place)): teacher for place, teacher in enumerate(teachers)})
    assert list(found.values()) == names


def test_another_teacher_at_the_same_place_is_another_row(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "seed=0", fingerprint="1" * 64)
    make_run(tmp_path / "b", "seed=1", fingerprint="2" * 64)
    found = compared(f"runs=[{tmp_path}/a,{tmp_path}/b]", f"run_dir={tmp_path}/out")
    assert [row.settings["teacher"] for row in found.rows] == ["embedded (11111111)", "embedded (22222222)"]


def test_unfinished_runs_are_named(runs: Path) -> None:
    (runs / "full-1/metrics.json").unlink()
    with pytest.raises(
        ValueError, match=r"metrics.json is missing\): \S+/full-1; give the command .* unfinished=skip"
    ):
        compared(f"runs={runs}/*-?", f"run_dir={runs}/out")
    assert not (runs / "out").exists()


def test_unfinished_runs_are_left_out_with_a_note(runs: Path) -> None:
    (runs / "full-1/metrics.json").unlink()
    found = compared(f"runs={runs}/*-?", f"run_dir={runs}/out", "unfinished=skip")
    assert [len(row.runs) for row in found.rows] == [2, 1]
    assert "full-1" in found.notes[0]
    assert found.notes[0] in (runs / "out/comparison.md").read_text()


def test_nothing_is_left_when_all_are_unfinished(tmp_path: Path) -> None:
    (make_run(tmp_path / "a") / "metrics.json").unlink()
    with pytest.raises(ValueError, match=r"it goes on where it was stopped$"):
        compared(f"runs={tmp_path}/a", "unfinished=skip")


def test_no_run_matches(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing\* matches no run of reflow.train \(no such folder"):
        compared(f"runs={tmp_path}/nothing*")
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match=r"other: no run.json in there.*give run folders"):
        compared(f"runs={tmp_path}/other")


def test_unknown_metric(runs: Path) -> None:
    with pytest.raises(ValueError, match="no run has 'deploy/los'; close: deploy/loss"):
        compared(f"runs={runs}/full-0", "metrics=[deploy/los]")


def test_none_of_the_default_metrics(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    (folder / "metrics.json").write_text('{"padding/x": 1.0}')
    with pytest.raises(ValueError, match="these runs have none of the default ones"):
        compared(f"runs={folder}", f"run_dir={tmp_path}/out")


def test_output_below_a_file(runs: Path) -> None:
    (runs / "file").touch()
    with pytest.raises(
        ValueError, match=r"run_dir=\S+/file/out: .* cannot be written .*choose another folder"
    ):
        compared(f"runs={runs}/full-0", f"run_dir={runs}/file/out")


@pytest.mark.parametrize("given", [(), ("runs=a", "run=b")])
def test_runs_or_run(given: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"give one of them: runs=\[outputs/a,outputs/b\]"):
        compared(*given)


def test_bad_settings(runs: Path) -> None:
    with pytest.raises(ValueError, match="unfinished=maybe; allowed: error or skip"):
        compared(f"runs={runs}/full-0", "unfinished=maybe")
    with pytest.raises(ValueError, match=r"runs={'a': 1}; allowed: a list"):
        compared("runs={a: 1}")
    with pytest.raises(ValueError, match=r"runs=\[\]; allowed: a list"):
        compared("runs=[]")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics.json", "{", r"metrics.json is no JSON .* out of runs"),
        ("metrics.json", "[]", r"metrics.json holds no names and values; leave"),
        ("config.yaml", "a: [", r"config.yaml cannot be read .* out of runs"),
        ("config.yaml", "a: 1", r"config.yaml is no configuration of reflow.train; leave"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    (make_run(tmp_path / "a") / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        compared(f"runs={tmp_path}/a")


def test_the_page_of_one_run_is_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(tmp_path / "a")
    assert report.report(composed(f"run={folder}", config_name="report")) is None
    assert "<html" in (folder / "report.html").read_text()
    assert capsys.readouterr().out.strip()


def test_the_page_of_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no metrics.json"):
        report.report(composed(f"run={tmp_path}", config_name="report"))


def test_command_line_errors_end_with_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["report", f"runs={tmp_path}/nothing*"])
    with pytest.raises(SystemExit) as ended:
        report.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: runs=")


def test_runs_are_not_touched(runs: Path) -> None:
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    compared(f"runs={runs}/*-?", f"run_dir={runs}/out")
    shutil.rmtree(runs / "out")
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before
