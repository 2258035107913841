"""One CSV file for one run: what a killed process logged beyond its checkpoint is not there twice."""

import csv
import socket
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from reflow.config.installed import check_loggers
from reflow.config.train import build_loggers
from reflow.distill.logs import OneCSV
from reflow.distill.trackio import TrackioLogger
from reflow.errors import NotInstalledError
from tests.distill.conftest import composed


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "csv" / "metrics.csv").open(newline="") as file:
        return [*csv.DictReader(file)]


def test_a_run_goes_on_with_its_own_file(tmp_path: Path) -> None:
    first = OneCSV(str(tmp_path))
    for step in range(4):
        first.log_metrics({"loss": 1.0 / (1 + step)}, step)
    first.save()
    first.log_metrics({"loss": 0.125}, 4)  # killed before it is written
    again = OneCSV(str(tmp_path), first_step=3)
    again.log_metrics({"loss": 0.5, "gap": 1.25}, 3)
    assert [row["loss"] for row in rows(tmp_path)] == ["1.0", "0.5", "0.3333333333333333", "0.25"]
    again.finalize("success")
    assert rows(tmp_path) == [
        {"gap": "", "loss": "1.0", "step": "0"},
        {"gap": "", "loss": "0.5", "step": "1"},
        {"gap": "", "loss": "0.3333333333333333", "step": "2"},
        {"gap": "1.25", "loss": "0.5", "step": "3"},
    ]
    anew = OneCSV(str(tmp_path))  # its checkpoint is gone
    anew.log_metrics({"loss": 2.0}, 0)
    anew.save()
    assert rows(tmp_path) == [{"loss": "2.0", "step": "0"}]


def test_what_was_not_logged_leaves_no_file(tmp_path: Path) -> None:
    logger = OneCSV(str(tmp_path))
    logger.save()
    assert not [*tmp_path.rglob("*.csv")]


def test_weights_and_biases_goes_on_with_the_same_run(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    asked = ("logger=wandb", f"run_dir={tmp_path}")
    *_, logger = build_loggers(composed(*asked).logger, 7, "a1b2")
    assert logger.version == "a1b2"
    *_, logger = build_loggers(composed(*asked, "+logger.wandb.id=mine").logger, 7, "a1b2")
    assert logger.version == "mine"


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Whom this process tries to reach, with a token and online."""
    tried: list[Any] = []

    def connect(_: socket.socket, address: Any) -> None:
        tried.append(address)
        raise OSError("no network in a test")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: connect(None, address))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789abcdef")
    return tried


def test_trackio_goes_on_with_the_same_run_and_reaches_nobody(
    tmp_path: Path, reached: list[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    def logger(first_step: int, run: str) -> TrackioLogger:
        asked = ("logger=trackio", f"run_dir={tmp_path}", "name=mine", "logger.trackio.project=tests")
        *_, made = build_loggers(composed(*asked).logger, first_step, run)
        assert isinstance(made, TrackioLogger)
        return made

    def rows(run: str) -> list[dict[str, Any]]:
        found = SQLiteStorage.get_logs("tests", f"mine-{run[:8]}")
        return [{key: value for key, value in row.items() if key != "timestamp"} for row in found]

    one, other = "a1b2c3d4e5f6", "0a0b0c0d0e0f"
    first = logger(0, one)
    first.log_hyperparams({"lr": 1e-3})
    for step in range(4):
        first.log_metrics({"loss": 1.0 / (1 + step)}, step)
    first.log_metrics({"gap": 1.5}, 1)
    first.finalize("interrupted")  # later than its last checkpoint, of step 2
    again = logger(2, one)
    again.log_hyperparams({"lr": 1e-3})
    for step in range(2, 6):
        again.log_metrics({"loss": 1.0 / (1 + step)}, step)
    again.log_metrics({"gap": 1.25}, 3)
    again.finalize("success")
    beside = logger(0, other)
    beside.log_metrics({"loss": 9.0}, 0)
    beside.finalize("success")

    losses = [(row["step"], row["loss"]) for row in rows(one) if "loss" in row]
    assert losses == [(step, pytest.approx(1.0 / (1 + step))) for step in range(6)]
    assert [(row["step"], row["gap"]) for row in rows(one) if "gap" in row] == [(1, 1.5), (3, 1.25)]
    assert [row["loss"] for row in rows(other)] == [9.0]
    assert SQLiteStorage.get_run_config("tests", f"mine-{one[:8]}")["lr"] == 1e-3
    assert reached == []
    assert capfd.readouterr().out == ""
    assert not constants.HF_HUB_OFFLINE


def test_a_logger_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reflow.config.installed.find_spec", lambda name: None)
    with pytest.raises(
        NotInstalledError, match=r"logger\.trackio needs trackio, .*pip install 'reflow\[trackio\]'"
    ):
        check_loggers(composed("logger=trackio"))
