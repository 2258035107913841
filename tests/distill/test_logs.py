"""One CSV file for one run: what a killed process logged beyond its checkpoint is not there twice."""

import csv
from pathlib import Path

import pytest

from reflow.config.train import build_loggers
from reflow.distill.logs import OneCSV
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
