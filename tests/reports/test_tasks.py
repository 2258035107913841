"""Several evaluations added up: counts come back out of the figures, and what cannot be added up is refused."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from reflow import report
from reflow.errors import UserError
from reflow.metrics.paired import compare_counts
from reflow.metrics.paired_plan import PairedPlan
from reflow.reports.tasks import Task, add_up, task_of
from reflow.reports.tasks_table import tasks_markdown
from reflow.simulator.journal import Episode
from reflow.simulator.success import success_of
from tests.distill.conftest import composed

OUTCOMES = {  # by task: of each seed whether teacher@10, teacher@1 and student@1 succeed
    "drawer-open-v3": ["110", "111", "001", "101", "000", "100", "111"],
    "reach-v3": ["111", "111", "100", "111"],
}


def figures(outcomes: list[str], planned: int | None = None) -> dict[str, float]:
    """As an evaluation leaves them in ``metrics.json``."""
    episodes = [
        Episode(who, steps, seed, outcome[place] == "1", 0.0, 0.0, 9)
        for place, (who, steps) in enumerate((("teacher", 10), ("teacher", 1), ("student", 1)))
        for seed, outcome in enumerate(outcomes)
    ]
    return dict(success_of(episodes, PairedPlan(planned or len(outcomes), margin=0.05)).metrics)


def make_evaluation(folder: Path, task: str, *, margin: float = 0.05, student: str = "b") -> Path:
    """A folder as ``reflow.evaluate`` leaves it, without report and episodes."""
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(figures(OUTCOMES[task])))
    config = {"env": {"type": "metaworld", "task": task}, "margin": margin}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    policies = {"teacher": {"fingerprint": "a"}, "student": {"fingerprint": student}}
    (folder / "episodes.identity.json").write_text(json.dumps({"policies": policies}))
    return folder


@pytest.fixture
def tasks() -> list[Task]:
    return [task_of(name, figures(outcomes), 0.05) for name, outcomes in OUTCOMES.items()]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for task in OUTCOMES:
        make_evaluation(tmp_path / "tasks" / task, task)
    return tmp_path


def test_counts_come_back_out_of_the_figures(tasks: list[Task]) -> None:
    drawer, reach = tasks
    assert drawer.paired == compare_counts(both=3, only_first=1, only_second=2, neither=1, margin=0.05)
    assert reach.paired == compare_counts(both=3, only_first=0, only_second=1, neither=0, margin=0.05)
    assert (drawer.first, drawer.second) == ("student@1", "teacher@10")
    assert {name: (rate.successes, rate.episodes) for name, rate in drawer.rates.items()} == {
        "teacher@10": (5, 7),
        "teacher@1": (3, 7),
        "student@1": (4, 7),
    }


def test_pairs_are_added_up(tasks: list[Task]) -> None:
    found = add_up(tasks)
    assert found.together.paired == compare_counts(6, 1, 3, 1, margin=0.05)
    assert found.together.rates["teacher@1"].successes == 6
    assert found.worst.name == "reach-v3"
    together, worst = found.sentences()
    assert together.startswith("2 tasks together: student@1 is not shown to be not inferior to teacher@10")
    assert worst.startswith("student@1 is behind most in reach-v3: -25.0 points (95 % interval")
    last = tasks_markdown(found).splitlines()[4]
    assert last.startswith("| **together** | **11** | **81.8 [")
    assert "behind" not in add_up([task_of("even", figures(["111", "000"]), 0.05)]).sentences()[1]


def test_the_command_reads_folders(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [f"evaluations={folders}/tasks/*", f"run_dir={folders}/out"]
    assert report.report(composed(*asked, config_name="report")) is None
    assert "2 tasks together: student@1" in capsys.readouterr().out
    rows = list(csv.DictReader((folders / "out/tasks.csv").open()))
    assert [row["task"] for row in rows] == ["drawer-open-v3", "reach-v3", "together"]
    assert [rows[2][key] for key in ("both", "only_first", "only_second", "neither")] == ["6", "1", "3", "1"]
    assert (folders / "out/tasks.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_added_up_is_refused(folders: Path, tasks: list[Task]) -> None:
    def refused(*evaluations: Path | str) -> str:
        asked = f"evaluations=[{','.join(map(str, evaluations))}]"
        with pytest.raises(UserError) as caught:
            report.report(composed(asked, f"run_dir={folders}/out", config_name="report"))
        assert not (folders / "out").exists()
        return str(caught.value)

    drawer = folders / "tasks/drawer-open-v3"
    assert "reach-v3 stands there twice" in refused(
        folders / "tasks/*", make_evaluation(folders / "again", "reach-v3")
    )
    assert "is of other policies than" in refused(
        drawer, make_evaluation(folders / "other", "reach-v3", student="c")
    )
    assert "the margin differs, 0.05 in drawer-open-v3 and 0.02 in reach-v3" in refused(
        drawer, make_evaluation(folders / "narrow", "reach-v3", margin=0.02)
    )
    assert "matches no evaluation in a simulator" in refused(folders / "nothing*")
    (drawer / "metrics.json").unlink()
    assert f"{drawer} is not finished" in refused(drawer)
    with pytest.raises(UserError, match="late: 4 of 9 planned pairs are played"):
        task_of("late", figures(OUTCOMES["reach-v3"], planned=9), 0.05)
    with pytest.raises(UserError, match="offline: no student was held against a teacher"):
        task_of("offline", {"deploy/gap": 1.0}, 0.05)
    with pytest.raises(UserError, match="evaluations is empty"):
        add_up([])
