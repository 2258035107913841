"""Success at a latency: who plays how late, what came of it, and latencies that are measured once."""

from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import pytest
import torch

from reflow.data import LeRobotDataModule
from reflow.errors import UserError
from reflow.evaluation.measured import measured_latencies
from reflow.evaluation.reaction import Trial, reaction_of, trials_of
from reflow.evaluation.result_folder import LATENCIES, OtherResultsError, ResultFolder
from reflow.evaluation.simulator_settings import SimulatorSettings
from reflow.flow import Draws
from reflow.metrics import wilson_interval
from reflow.metrics.paired_plan import PairedPlan
from reflow.metrics.paired_score import tango_interval
from reflow.policies import FlowPolicy, load_policy, load_processors, share_frozen
from reflow.probes import Observations, Observed
from reflow.probes.observations import episode_looks, load_rows
from reflow.reports.figures.drawing import steps_name
from reflow.reports.reaction import reaction_rows
from reflow.simulator.actor import Contender
from reflow.simulator.journal import Episode
from tests.builders import make_dataset, make_teacher_folder, repo_id

IDENTITY = {"teacher": "a", "student": "b", "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model", n_action_steps=5)


def test_a_latency_is_each_contender_s_own_or_the_same_for_all(folder: Path) -> None:
    contenders = [Contender("teacher", folder, 10), Contender("student", folder, 1)]
    latencies = {"teacher@10": 81.0, "student@1": 19.0}
    trials = trials_of(contenders, [0, "measured", 100], [None, 2], latencies, 50)
    assert [(one.name, one.latency, one.contender.n_action_steps, one.contender.delay) for one in trials] == [
        (name, latency, n, delay)
        for latency, delays in (("0ms", (0, 0)), ("measured", (5, 1)), ("100ms", (5, 5)))
        for name, delay in zip(latencies, delays, strict=True)
        for n in (5, 2)
    ]
    assert trials[0].figure == "reaction/teacher@10/0ms/n5"
    assert len({one.contender for one in trials}) == len(trials) - 2  # 81 ms are played as 100 ms


def episodes(contender: Contender, successes: list[int]) -> list[Episode]:
    key = contender.key(0)
    outcome = {"max_reward": 0.0, "sum_reward": 0.0, "length": 1}
    return [
        Episode(**(key._asdict() | {"seed": seed, "success": bool(success)} | outcome))
        for seed, success in enumerate(successes)
    ]


def test_success_is_told_at_the_best_number_of_actions_and_compared_in_pairs(folder: Path) -> None:
    teacher, student = Contender("teacher", folder, 10, 5, 2), Contender("student", folder, 1, 5, 2)
    outcomes = {
        teacher: [1, 0, 0, 0],
        replace(teacher, n_action_steps=2): [1, 1, 0, 0],
        student: [1, 0, 1, 1],
        replace(student, n_action_steps=2): [0, 1, 1, 1],  # as good: the one that looks less often is taken
    }
    trials = [Trial(contender, "40ms") for contender in outcomes]
    played = [
        episode for contender, successes in outcomes.items() for episode in episodes(contender, successes)
    ]
    found = reaction_of(trials, played, {"teacher@10": 31.5}, PairedPlan(4))
    metrics = found.metrics
    assert metrics["reaction/teacher@10/latency"] == 31.5
    assert [metrics[trial.figure] for trial in trials] == [0.25, 0.5, 0.75, 0.75]
    low, high = wilson_interval(2, 4)
    name = "reaction/teacher@10/40ms/n2"
    assert (metrics[f"{name}/low"], metrics[f"{name}/high"]) == (low, high)
    assert (metrics[f"{name}/episodes"], metrics[f"{name}/delay"]) == (4, 2)
    (comparison,) = found.paired.values()
    assert list(found.paired) == ["reaction/student@1_vs_teacher@10/40ms"]
    assert (comparison.both, comparison.only_first, comparison.only_second) == (1, 2, 1)
    assert metrics["reaction/student@1_vs_teacher@10/40ms/difference"] == 0.25
    assert metrics["reaction/student@1_vs_teacher@10/40ms/planned_pairs"] == 4
    assert comparison.conclusion == "not shown"
    assert "reaction/student@1_vs_teacher@10/40ms/noninferior" not in metrics
    beside, said = found.comparisons
    assert "The plan is for a world that waits." in beside
    assert said.startswith(
        "student@1 at 40 ms (5 actions a chunk) is not shown to be not inferior to teacher@10 at 40 ms (2 actions a "
    )
    assert found.differing == (2, 3)  # of those who play first, at five actions each
    unfinished = reaction_of(trials, played, {"teacher@10": 31.5}, PairedPlan(5))
    assert unfinished.comparisons[1].startswith("Unfinished, 4 of 5 planned pairs: student@1 at 40 ms (5 ")
    told = {name.rpartition("/")[2] for name in unfinished.metrics if "_vs_" in name}
    assert told == {"difference", "discordance", "planned_pairs"}


def test_ways_in_which_chunks_follow_one_another_are_trials_of_their_own(folder: Path) -> None:
    contenders = [Contender("teacher", folder, 10), Contender("student", folder, 1)]
    trials = trials_of(contenders, [100], [None], {}, 50, [None, "guided", "trained"])
    assert [trial.name for trial in trials] == [
        "teacher@10",
        "teacher@10-guided",
        "student@1",
        "student@1-guided",
        "student@1-trained",  # the teacher was not trained for it
    ]
    assert trials[-1].figure == "reaction/student@1-trained/100ms/n5"
    alone = trials_of(contenders, [100], [None], {}, 50, ["trained"])
    assert [trial.name for trial in alone] == ["teacher@10", "student@1-trained"]
    played = [episode for trial in trials for episode in episodes(trial.contender, [1, 0, 1])]
    jumping = [
        replace(one, jumps=(9.0, 0.1 * one.seed, 0.05)) if one.rtc == "trained" else one for one in played
    ]
    latencies = {"student@1": 19.0}
    metrics = reaction_of(trials, jumping, latencies, PairedPlan(3), joints=(1, 2)).metrics
    name = "reaction/student@1-trained/100ms/n5"
    assert (metrics[f"{name}/jump"], metrics[f"{name}/jump_max"]) == (0.1, 0.2)  # of 0.05, 0.1 and 0.2
    assert [key for key in metrics if key.endswith("/jump")] == [f"{name}/jump"]
    assert "reaction/student@1-trained_vs_teacher@10/100ms/difference" in metrics
    rows = {row.name: row for row in reaction_rows(metrics)}
    assert list(rows) == [trial.name for trial in trials]
    assert rows["student@1-trained"].jump == 0.1
    assert isnan(rows["student@1"].jump)
    assert steps_name("student@1-trained") == "student, 1 step, trained"
    measured = trials_of(contenders, ["measured"], [None], {"teacher@10": 81.0, **latencies}, 50, ["guided"])
    there = reaction_of(
        measured,
        [one for t in measured for one in episodes(t.contender, [1])],
        latencies | {"teacher@10": 81.0},
        PairedPlan(1),
    )
    assert {row.name: row.ms for row in reaction_rows(there.metrics)} == {
        "teacher@10-guided": 81.0,
        "student@1-guided": 19.0,
    }


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"rtc": "guided"}, r"rtc=guided is about what is played while a policy thinks; add a delay"),
        ({"rtc": "soft", "delay": 100}, r"rtc is soft; allowed: null, guided or trained, or a list"),
        ({"rtc": ["guided", "guided"], "delay": 100}, r"rtc is \['guided', 'guided'\]; allowed"),
        ({"rtc": [], "delay": 100}, r"rtc is \[\]; allowed"),
    ],
)
def test_ways_that_are_none_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        SimulatorSettings(**given)
    assert SimulatorSettings(rtc=[None, "trained"], delay=[100]).ways == (None, "trained")


def test_the_margin_and_error_at_a_latency_are_the_plan_s(folder: Path) -> None:
    teacher, student = Contender("teacher", folder, 10, 5, 2), Contender("student", folder, 1, 5, 2)
    outcomes = {teacher: [1] * 200, student: [1] * 190 + [0] * 10}
    trials = [Trial(contender, "40ms") for contender in outcomes]
    played = [
        episode for contender, successes in outcomes.items() for episode in episodes(contender, successes)
    ]
    wide, narrow = (reaction_of(trials, played, {}, PairedPlan(200, margin)) for margin in (0.1, 0.02))
    name = "reaction/student@1_vs_teacher@10/40ms"
    assert (wide.metrics[f"{name}/noninferior"], wide.metrics[f"{name}/superior"]) == (1.0, 0.0)
    assert narrow.metrics[f"{name}/noninferior"] == 0.0
    (comparison,) = reaction_of(trials, played, {}, PairedPlan(200, alpha=0.05)).paired.values()
    assert comparison.alpha == 0.05
    assert (comparison.low, comparison.high) == tango_interval(0, 10, 200, 0.9)


@pytest.fixture(scope="module")
def observations(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """One held-out observation, before the teacher and itself as a student."""
    teacher, student = load_policy(folder), load_policy(folder)
    preprocess, postprocess = load_processors(folder, teacher)
    share_frozen(teacher, student)
    root = make_dataset(tmp_path_factory.mktemp("data") / "set")
    data = LeRobotDataModule(
        teacher.config,
        preprocess,
        repo_id=repo_id(root),
        root=root,
        batch_size=2,
        num_workers=0,
        val_frames=2,
    )
    policies = {"teacher": teacher, "student": student}
    by = Observations(policies, Draws(0), 1, postprocess={"teacher": postprocess, "student": postprocess})
    return by.see(next(load_rows(data, episode_looks(data, 5)[0][:1])))


def test_latencies_are_measured_once_on_one_thread(
    observations: Observed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, asked, threads = ResultFolder(tmp_path), [], []
    walk = FlowPolicy.walk

    def walking(self, context, noise, num_steps=None):
        threads.append((torch.get_num_threads(), num_steps))
        return walk(self, context, noise, num_steps)

    def observe() -> Observed:
        asked.append(observations)
        return observations

    monkeypatch.setattr(FlowPolicy, "walk", walking)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    first = measured_latencies(results, IDENTITY, {"teacher": (3, 1), "student": (1,)}, observe, 2)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert {number for number, _ in threads} == {1}
    assert first.keys() == {"teacher@3", "teacher@1", "student@1"}
    assert min(first.values()) > 0
    threads.clear()
    again = measured_latencies(results, IDENTITY, {"teacher": (3,), "student": (1,)}, observe, 2)
    assert (again, threads, len(asked)) == ({name: first[name] for name in again}, [], 1)
    more = measured_latencies(results, IDENTITY, {"teacher": (3, 2), "student": (1,)}, observe, 2)
    assert {num_steps for _, num_steps in threads} == {2}
    assert more["teacher@3"] == first["teacher@3"]
    with pytest.raises(OtherResultsError, match="device: cpu there, cuda now"):
        measured_latencies(results, {**IDENTITY, "device": "cuda"}, {"teacher": (3,)}, observe, 2)
    (tmp_path / LATENCIES).write_text("[]")
    with pytest.raises(
        ValueError, match=r"latencies\.json is none of ours; delete it, and it is measured anew"
    ):
        measured_latencies(results, IDENTITY, {"teacher": (3,)}, observe, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"delay": -1}, r"delay is -1; allowed: ms from 0, measured, a list of different ones, or null"),
        ({"delay": "soon"}, r"delay is soon; allowed: ms from 0, measured"),
        ({"delay": ()}, r"delay is \(\); allowed"),
        ({"delay": (30, 30)}, r"delay is \(30, 30\); allowed"),
        ({"delay": float("nan")}, r"delay is nan; allowed"),
        ({"n_action_steps": 0}, r"n_action_steps is 0; allowed: 1 or more, a list"),
        ({"n_action_steps": "all"}, r"n_action_steps is all; allowed: 1 or more, a list"),
        ({"n_action_steps": (5, 5), "delay": 30}, r"n_action_steps is \(5, 5\); allowed"),
        ({"n_action_steps": (5, 10)}, r"a list goes with a delay: add delay=measured, or delay=0"),
    ],
)
def test_impossible_delays(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimulatorSettings(**wrong)


def test_delays_are_one_or_several() -> None:
    assert (SimulatorSettings().delays, SimulatorSettings().action_steps) == ((), (None,))
    several = SimulatorSettings(delay=["measured", 30], n_action_steps=[5, 10])
    assert (several.delays, several.action_steps, several.measures) == (("measured", 30), (5, 10), True)
    single = SimulatorSettings(delay=0, n_action_steps=5)
    assert (single.delays, single.action_steps, single.measures) == ((0,), (5,), False)
