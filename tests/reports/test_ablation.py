"""The padding ablation's figures: the documentation's table is the data file's, the data file's are the runs'."""

import csv
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev

import pytest

from reflow.reports.ablation import NEVER, SUPERVISED, ablation, healthy_ranges, markdown_table

ROOT = Path(__file__).parents[2]
TEACHERS = {"embedded": NEVER, "teacher_supervised": SUPERVISED}


def test_the_documentation_has_this_very_table() -> None:
    pages = [page for page in (ROOT / "docs" / "padding.md", ROOT / "README.md") if page.is_file()]
    lines = pages[0].read_text(encoding="utf-8").splitlines()
    start = lines.index(markdown_table().splitlines()[0])
    assert lines[start : start + 20] == markdown_table().splitlines()
    assert not lines[start + 20].startswith("|")


def test_the_figures_are_those_of_the_runs() -> None:
    runs = defaultdict(list)
    with open(ROOT / "notebooks" / "padding_ablation.csv", newline="") as file:
        for run in csv.DictReader(file):
            fix = run["fix"] if "+" not in run["fix"] else f"[{run['fix'].replace('+', ',')}]"
            runs[TEACHERS[run["teacher"]], fix].append(run)
    assert runs.keys() == ablation().keys()
    for key, row in ablation().items():
        for name, column, scale, digits in (
            ("reported_loss", "train/loss", 1, 3),
            ("deploy_loss", "deploy/loss", 1, 3),
            ("deploy_gap", "deploy/gap", 1, 2),
            ("velocity_error", "velocity/relative_error", 100, 1),
            *((f"endpoint_error_{n}", f"student/endpoint_error@{n}", 100, 1) for n in (1, 2, 4, 10)),
            *((f"success_{n}", f"success/student@{n}", 100, 0) for n in (1, 10)),
        ):
            values = [scale * float(run[column]) for run in runs[key]]
            told = getattr(row, name)
            found = [fmean(values), stdev(values)] if isinstance(told, list) else fmean(values)
            assert told == pytest.approx(found, abs=0.501 * 10**-digits), (key, name)


def test_the_healthy_are_told_from_the_harmful() -> None:
    assert healthy_ranges(("keep_target", "[keep_target,full_loss]", "[full_noise,full_loss]")) == (
        "0.7 to 1.0",
        "9 to 10 %",
    )
    assert healthy_ranges(()) == ("0.7 to 22.6", "9 to 22 %")
