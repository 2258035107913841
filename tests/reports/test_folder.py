"""A run folder and back: what was written is what the report says, and damage is named."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reflow.files import UnwritableError
from reflow.reports.folder import (
    Words,
    content_of_run,
    latency_rows,
    load_words,
    report_on,
    save_arrays,
    save_words,
    success_rows,
)
from reflow.versions import versions_here
from tests.reports.builders import JOINTS, make_arrays, make_content, make_metrics

WORDS = Words("demo", 1, ("python -m reflow.train",), {"torch": "2.11.0"}, JOINTS, ("they are alike",))
SIMULATED = {
    "success/student@1": 0.89,
    "success/student@1/episodes": 100.0,
    "success/student@1/low": 0.81,
    "success/student@1/high": 0.94,
    "success/student@1/reward": 0.9,
    "success/student@1/length": 97.0,
    "success/teacher@1": 0.05,
    "success/teacher@1/episodes": 100.0,
    "success/teacher@10": 0.9,
    "success/teacher@10/episodes": 100.0,
    "success/student@1_vs_teacher@10/difference": -0.01,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "metrics.json").write_text(json.dumps(make_metrics() | SIMULATED))
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    save_arrays(tmp_path / "arrays.safetensors", make_arrays())
    save_words(tmp_path, WORDS)
    return tmp_path


def test_content_comes_back(folder: Path) -> None:
    (folder / "videos").mkdir()
    (folder / "videos" / "seed_3.mp4").write_bytes(b"film")
    content = content_of_run(folder)
    assert (content.title, content.commands, content.versions) == (
        WORDS.title,
        WORDS.commands,
        WORDS.versions,
    )
    assert content.joint_names == JOINTS
    assert content.comparisons == ("they are alike",)
    assert content.metrics == make_metrics() | SIMULATED
    assert content.configuration == "seed: 0\n"
    assert content.videos == (folder / "videos" / "seed_3.mp4",)
    assert content.verdict.sentence.startswith("One step of the student")
    for name, array in make_arrays().items():
        np.testing.assert_array_equal(content.arrays[name], array)


def test_arrays_are_float32(tmp_path: Path) -> None:
    save_arrays(tmp_path / "arrays.safetensors", {"fan/teacher": np.arange(6.0).reshape(2, 3).T})
    (tmp_path / "metrics.json").write_text("{}")
    found = content_of_run(tmp_path).arrays["fan/teacher"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[0, 3], [1, 4], [2, 5]])


def test_metrics_alone_are_enough(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"deploy/gap": 1.0}')
    content = content_of_run(tmp_path)
    assert content.title == tmp_path.name
    assert not content.arrays
    assert not content.success
    assert not content.latency


def test_success_and_latency_are_read_from_the_metrics() -> None:
    rows = success_rows(SIMULATED)
    assert [(row.name, row.num_steps, row.successes) for row in rows] == [
        ("teacher", 10, 90),
        ("teacher", 1, 5),
        ("student", 1, 89),
    ]
    assert (rows[-1].low, rows[-1].high, rows[-1].mean_reward, rows[-1].mean_length) == (
        0.81,
        0.94,
        0.9,
        97.0,
    )

    times = {
        f"latency/{who}@{n}/{part}_{percentile}": value
        for who, n, value in (("student", 1, 3.0), ("teacher", 10, 30.0))
        for part in ("prefix", "velocity", "total")
        for percentile in ("p50", "p95")
    }
    assert [(row.name, row.nfe, row.total_p95_ms) for row in latency_rows(times)] == [
        ("teacher", 10, 30.0),
        ("student", 1, 3.0),
    ]


def test_the_report_is_written_from_the_folder(folder: Path) -> None:
    content = report_on(folder)
    assert content.verdict.sentence.split(",")[0] in (folder / "report.html").read_text()
    names = {path.stem for path in (folder / "figures").glob("*.png")}
    assert {"endpoint_error", "velocity_error", "padding", "flow", "success"} <= names


def test_versions_name_what_figures_depend_on() -> None:
    assert {"python", "torch", "lerobot"} <= versions_here().keys()


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no metrics\.json: it is the folder of no finished run"):
        content_of_run(tmp_path)


def test_damaged_files_are_named(folder: Path) -> None:
    (folder / "arrays.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"arrays\.safetensors is damaged .* delete it"):
        content_of_run(folder)
    (folder / "report.json").write_text('{"titel": "demo"}')
    with pytest.raises(ValueError, match=r"report\.json: title: Field required.*titel.*; delete it"):
        load_words(folder)
    (folder / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match=r"metrics\.json is no JSON"):
        content_of_run(folder)
    (folder / "metrics.json").write_text("[]")
    with pytest.raises(ValueError, match=r"metrics\.json holds a list; allowed: an object"):
        content_of_run(folder)


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        UnwritableError, match=r"report\.json cannot be written to .*file.*; choose another folder"
    ):
        save_words(tmp_path / "file", WORDS)
    with pytest.raises(UnwritableError, match=r"arrays\.safetensors cannot be written to"):
        save_arrays(tmp_path / "file" / "arrays.safetensors", {"a": np.zeros(2)})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(folder: Path) -> None:
    folder.chmod(0o500)
    try:
        with pytest.raises(UnwritableError, match="cannot be written"):
            report_on(folder)
    finally:
        folder.chmod(0o700)


def test_words_go_round(tmp_path: Path) -> None:
    words = replace(WORDS, title=make_content().title, num_steps=None)
    save_words(tmp_path, words)
    assert load_words(tmp_path) == words
