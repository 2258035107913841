"""What an evaluation leaves behind, what it refuses to overwrite, and what its episodes say."""

from pathlib import Path

import numpy as np
import pytest

from reflow.errors import UserError
from reflow.evaluation.folders import Folders
from reflow.evaluation.result_folder import OtherResultsError, ResultFolder
from reflow.evaluation.simulator_settings import SimulatorSettings
from reflow.evaluation.summary import print_summary
from reflow.metrics import wilson_interval
from reflow.metrics.paired_plan import PairedPlan, plan_pairs
from reflow.probes.figures import Figures
from reflow.simulator.journal import Episode
from reflow.simulator.success import success_of
from tests.builders import make_teacher_folder

FOUND = Figures({"a": 1.0, "b": 2.0}, {"x": np.arange(3, dtype=np.float32)})
IDENTITY = {"seed": 0, "nfe": (1, 2), "teacher": "abc"}


def test_offline_figures_are_found_again(tmp_path: Path) -> None:
    results = ResultFolder(tmp_path / "out")
    results.check_owner()
    results.check_writable()
    assert results.offline(IDENTITY) is None
    results.keep_offline(IDENTITY, FOUND)
    again = results.offline(IDENTITY)
    assert again is not None
    assert again.metrics == FOUND.metrics
    np.testing.assert_array_equal(again.arrays["x"], FOUND.arrays["x"])
    results.check_owner()
    assert not list(results.path.glob(".*partial"))


def test_those_of_another_evaluation_are_refused(tmp_path: Path) -> None:
    results = ResultFolder(tmp_path)
    results.keep_offline(IDENTITY, FOUND)
    with pytest.raises(
        OtherResultsError,
        match=r"(?s)holds another evaluation:\n  seed: 0 there, 1 now\n  teacher: abc there",
    ):
        results.offline(IDENTITY | {"seed": 1, "teacher": "def"})
    with pytest.raises(OtherResultsError, match=r"draws: None there, 2 now\nGive this one another folder"):
        results.offline(IDENTITY | {"draws": 2})


@pytest.mark.parametrize("name", ["run.json", "holiday.jpg"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(OtherResultsError, match=rf"holds no evaluation, but {name}; choose a new folder"):
        ResultFolder(tmp_path).check_owner()


def test_a_training_run_is_refused_though_it_has_metrics(tmp_path: Path) -> None:
    for name in ("run.json", "metrics.json"):
        (tmp_path / name).touch()
    with pytest.raises(OtherResultsError, match=r"holds no evaluation, but metrics\.json, run\.json"):
        ResultFolder(tmp_path).check_owner()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"run_dir=.*file/inside cannot be written \(.+\); nothing was measured"
    ):
        ResultFolder(tmp_path / "file" / "inside").check_writable()


def test_folders_of_a_student(tmp_path: Path) -> None:
    folder = make_teacher_folder(tmp_path / "run" / "pretrained_model")
    for student in (tmp_path / "run", folder):
        found = Folders.find(str(student), str(folder))
        assert (found.student, found.output) == (folder, tmp_path / "run" / "evaluation")
        assert found.run == tmp_path / "run"
    bare = folder.parent.rename(tmp_path / "moved") / "pretrained_model"
    bare = bare.rename(tmp_path / "bare")
    assert Folders.find(str(bare)).output == Path("outputs/evaluation-bare").resolve()
    assert Folders.find(str(bare), output=str(tmp_path / "there")).output == tmp_path / "there"
    assert Folders.find(str(bare)).run is None
    assert set(Folders.find(str(bare)).policies) == {"teacher", "student"}
    with pytest.raises(FileNotFoundError, match=r"student\.path=nowhere is neither a folder here nor"):
        Folders.find("nowhere")


def episodes(name: str, steps: int, successes: list[bool]) -> list[Episode]:
    return [
        Episode(name, steps, seed, success, max_reward=2.0 + success, sum_reward=9.0, length=100 + seed)
        for seed, success in enumerate(successes)
    ]


FOUR = [
    *episodes("teacher", 10, [True, True, True, False]),
    *episodes("teacher", 1, [False, False, True, False]),
    *episodes("student", 1, [True, True, False, True]),
]


def test_success_of_everybody_and_of_each_against_the_teacher(capsys: pytest.CaptureFixture[str]) -> None:
    plan = PairedPlan(4)
    success = success_of(FOUR, plan)
    assert [(row.name, row.num_steps, row.successes) for row in success.rows] == [
        ("teacher", 10, 3), ("teacher", 1, 1), ("student", 1, 3)
    ]  # fmt: skip
    row = success.rows[2]
    assert (row.low, row.high) == wilson_interval(3, 4)
    assert (row.mean_reward, row.mean_length) == (2.75, 101.5)
    assert set(success.paired) == {
        "student@1_vs_teacher@10", "student@1_vs_teacher@1", "teacher@1_vs_teacher@10"
    }  # fmt: skip
    comparison = success.paired["student@1_vs_teacher@10"]
    assert (comparison.both, comparison.only_first, comparison.only_second) == (2, 1, 1)
    assert success.differing == (2, 3)
    metrics = success.metrics
    assert metrics["success/student@1"] == 0.75
    assert metrics["success/student@1/episodes"] == 4
    pair = "success/student@1_vs_teacher@10"
    assert metrics[f"{pair}/difference"] == 0.0
    assert (metrics[f"{pair}/low"], metrics[f"{pair}/high"]) == (comparison.low, comparison.high)
    assert (metrics[f"{pair}/discordance"], metrics[f"{pair}/planned_pairs"]) == (0.5, 4)
    assert metrics[f"{pair}/power"] == plan.power_at(0.5)
    assert metrics["success/student@1_vs_teacher@1/difference"] == 0.5
    assert [name for name in metrics if name.endswith("/primary")] == [f"{pair}/primary"]
    assert f"{pair}/noninferior" not in metrics  # four episodes do not show it
    assert "At the 50.0 % of pairs that differ, the plan's power is 0 %." in success.comparisons[0]
    assert not any("more" in name for name in metrics)
    print_summary(metrics, success, "it depends", Path("there"))
    out = capsys.readouterr().out
    assert "student@1" in out
    assert "75.0%" in out
    assert "not shown" in out
    assert "it depends" in out


def test_before_the_last_planned_pair_nothing_is_concluded(capsys: pytest.CaptureFixture[str]) -> None:
    success = success_of(FOUR, PairedPlan(5))
    assert success.comparisons[0] == (
        "Unfinished, 4 of 5 planned pairs: student@1 against teacher@10, 75.0 % against 75.0 % success in 4 paired "
        "episodes; nothing is concluded before the last."
    )
    pair = "success/student@1_vs_teacher@10"
    found = {name.removeprefix(f"{pair}/") for name in success.metrics if name.startswith(pair)}
    assert found == {"difference", "discordance", "planned_pairs", "primary"}
    print_summary(success.metrics, success, "it depends", Path("there"))
    assert "unfinished" in capsys.readouterr().out


def test_without_a_plan_nothing_is_compared() -> None:
    success = success_of(FOUR)
    assert len(success.rows) == 3
    assert not success.comparisons
    assert not success.paired
    assert not any("_vs_" in name for name in success.metrics)


def test_as_many_pairs_as_planned_decide() -> None:
    alike = [True] * 900 + [False] * 100
    pair = "success/student@1_vs_teacher@10"
    success = success_of([*episodes("teacher", 10, alike), *episodes("student", 1, alike)], PairedPlan(1000))
    assert (success.metrics[f"{pair}/noninferior"], success.metrics[f"{pair}/superior"]) == (1.0, 0.0)
    better = [True] * 950 + [False] * 50
    success = success_of([*episodes("teacher", 10, alike), *episodes("student", 1, better)], PairedPlan(1000))
    assert (success.metrics[f"{pair}/noninferior"], success.metrics[f"{pair}/superior"]) == (1.0, 1.0)
    success = success_of([*episodes("teacher", 10, better), *episodes("student", 1, alike)], PairedPlan(1000))
    assert success.metrics[f"{pair}/noninferior"] == 0.0
    assert f"{pair}/superior" not in success.metrics


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"episodes": 0}, r"episodes is 0; allowed: 1 or more"),
        ({"processes": 0}, r"processes is 0; allowed: 1 or more"),
        ({"first_seed": -1}, r"first_seed is -1; allowed: 0 or more"),
        ({"noise_seed": -1}, r"noise_seed is -1; allowed: 0 or more"),
        ({"margin": 2.0}, r"margin is 2\.0; allowed: above 0 and below 1; 0\.02 means 2 percentage points"),
        ({"power": 0.2, "episodes": None}, r"power is 0\.2; allowed: 0\.5 to below 1"),
        ({"discordance": 2.0}, r"discordance is 2\.0; allowed: .* to 1"),
        ({"episodes": 300_000}, r"episodes is 300000; allowed: 1 to 200000 pairs"),
        ({"expected_difference": -0.03}, r"expected_difference is -0\.03; allowed: above -margin"),
        ({"videos_of": "some"}, r"videos_of is some; allowed: all, or differ"),
        ({"teacher_steps": ()}, r"teacher_steps is \[\]; allowed: one or more different numbers"),
        ({"student_steps": (1, 1)}, r"student_steps is \[1, 1\]"),
        (
            {"videos": (5,)},
            r"videos is \(5,\); allowed: 0 to episodes=100, or a list of seeds from 100000 to 100099",
        ),
        ({"videos": 101}, r"videos is 101; allowed: 0 to episodes=100"),
        ({"videos": "all"}, r"videos is all; allowed: 0 to episodes=100"),
        ({"videos": -1}, r"videos is -1; allowed: 0 to episodes=100"),
    ],
)
def test_impossible_simulator_settings(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimulatorSettings(**wrong)


def test_who_plays(tmp_path: Path) -> None:
    settings = SimulatorSettings(episodes=3, videos=2, teacher_steps=(10, 1), student_steps=(1, 2))
    folders = {"teacher": tmp_path / "t", "student": tmp_path / "s"}
    assert [(who.name, who.num_steps) for who in settings.contenders(folders)] == [
        ("teacher", 10), ("teacher", 1), ("student", 1), ("student", 2)
    ]  # fmt: skip
    assert list(settings.seeds) == [100_000, 100_001, 100_002]
    assert settings.video_seeds() == (100_000, 100_001)
    assert SimulatorSettings(videos=(100_007, 100_003)).video_seeds() == (100_007, 100_003)


def test_who_is_filmed_where_only_pairs_that_differ_are() -> None:
    differing = (100_004, 100_007, 100_020, 100_030)
    assert SimulatorSettings(videos=2, videos_of="differ").video_seeds(differing) == differing[:2]
    assert SimulatorSettings(videos=9, videos_of="differ").video_seeds(differing) == differing
    chosen = SimulatorSettings(videos=(100_020, 100_003), videos_of="differ")
    assert chosen.video_seeds(differing) == (100_020,)
    assert SimulatorSettings(videos=2).video_seeds(differing) == (100_000, 100_001)


def test_as_many_episodes_as_power_takes() -> None:
    settings = SimulatorSettings(episodes=None, margin=0.05, power=0.8, discordance=0.1)
    planned = plan_pairs(0.05, 0.8, 0.1)
    assert settings.plan.paired == planned
    assert settings.seeds == range(100_000, 100_000 + planned.pairs)
    assert SimulatorSettings(episodes=1000).plan.paired == PairedPlan(1000)
