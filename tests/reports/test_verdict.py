"""The verdict of flat figures: what leads, where the thresholds lie, and what is said."""

from typing import Any

import pytest

from reflow.reports.verdict import conclusion_of, held_against, steps_in_words, verdict_of

ENDPOINTS = {
    "student/endpoint_error@1": 0.087,
    "student/endpoint_error@4": 0.42,
    "teacher/endpoint_error@1": 0.189,
    "teacher/endpoint_error@4": 0.065,
    "teacher/endpoint_error@10": 0.0,
    "teacher/solver_error": 0.041,
    "deploy/gap": 0.91,
}
PLAYED = {
    "success/student@1": 0.894,
    "success/student@1/episodes": 1000.0,
    "success/teacher@10": 0.906,
    "success/teacher@1": 0.05,
    "success/student@1_vs_teacher@10/difference": -0.012,
    "success/student@1_vs_teacher@10/mcnemar_p": 0.31,
    "success/student@1_vs_teacher@1/difference": 0.84,
    "success/student@1_vs_teacher@1/mcnemar_p": 0.0,
    "success/student@1_vs_teacher@1/noninferior": 1.0,
}


def test_a_run_without_a_simulator_is_told_by_its_endpoint_and_its_gap() -> None:
    verdict = verdict_of(ENDPOINTS)
    assert verdict.sentence == (
        "One step of the student ends 8.70 % from where ten steps of its teacher end (undistilled 18.9 %, the "
        "teacher's own solver error 4.10 %); the deploy gap is 0.91: what training reports is what deployment gets."
    )
    assert verdict.good is None


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"student/endpoint_error@1": 0.05}, True),
        ({"student/endpoint_error@1": 0.0501}, None),
        ({"student/endpoint_error@1": 0.08, "teacher/solver_error": 0.08}, True),
        ({"student/endpoint_error@1": 0.05, "deploy/gap": 1.25}, True),
        ({"student/endpoint_error@1": 0.05, "deploy/gap": 1.26}, None),
        ({"student/endpoint_error@1": 0.05, "deploy/gap": 2.0}, False),
        ({"student/endpoint_error@1": 0.189}, False),
        ({"student/endpoint_error@1": 0.04, "teacher/endpoint_error@1": 0.03}, False),
    ],
)
def test_thresholds(changes: dict[str, float], good: bool | None) -> None:
    assert verdict_of(ENDPOINTS | changes).good is good


def test_the_reports_own_gap_is_called_by_its_name() -> None:
    verdict = verdict_of(ENDPOINTS | {"deploy/gap": 14.2})
    assert verdict.sentence.endswith(
        "the deploy gap is 14.2: what training reports is not what deployment gets."
    )
    assert verdict.good is False


def test_a_student_is_judged_at_its_own_steps() -> None:
    verdict = verdict_of(ENDPOINTS | {"student/endpoint_error@4": 0.03}, student_steps=4)
    assert verdict.sentence.startswith("Four steps of the student end 3.00 % from where ten steps")
    assert verdict.good is True
    assert verdict_of(ENDPOINTS, student_steps=3) == verdict_of(ENDPOINTS)  # not measured there


def test_nothing_gained_is_bad() -> None:
    sentence = verdict_of(ENDPOINTS, student_steps=4).sentence
    assert "distillation gained nothing at these steps" in sentence


def test_success_leads_and_is_held_against_the_teachers_most_steps() -> None:
    verdict = verdict_of(ENDPOINTS | PLAYED | {"success/student@1_vs_teacher@10/noninferior": 1.0})
    assert verdict.sentence == (
        "One step of the student solves 89.4 % of 1,000 episodes, ten steps of its teacher 90.6 %: "
        "the student is not inferior."
    )
    assert verdict.good is True


@pytest.mark.parametrize(
    ("found", "good", "said"),
    [
        ({"noninferior": 0.0}, False, "the student is inferior."),
        ({"mcnemar_p": 0.01}, False, "the student is significantly worse."),
        (
            {"mcnemar_p": 0.01, "difference": 0.012},
            None,
            "it is not shown that the student is not inferior.",
        ),
        (
            {"planned_pairs": 1000.0},
            None,
            "not shown by the 1,000 planned pairs that the student is not inferior.",
        ),
        ({"planned_pairs": 3179.0}, None, "unfinished, nothing is concluded before 3,179 planned pairs."),
        ({"planned_pairs": 3179.0, "mcnemar_p": 0.01}, None, "before 3,179 planned pairs."),
        ({"noninferior": 1.0, "superior": 0.0}, True, "the student is not inferior."),
        ({"noninferior": 1.0, "superior": 1.0}, True, "the student is better."),
    ],
)
def test_paired_outcomes(found: dict[str, Any], good: bool | None, said: str) -> None:
    below = {f"success/student@1_vs_teacher@10/{key}": value for key, value in found.items()}
    verdict = verdict_of(PLAYED | below)
    assert verdict.good is good
    assert verdict.sentence.endswith(said)


def test_what_was_planned_leads() -> None:
    finer = {
        "success/teacher@100": 0.95,
        "success/student@1_vs_teacher@100/difference": -0.06,
        "success/student@1_vs_teacher@100/noninferior": 0.0,
        "success/student@1_vs_teacher@10/noninferior": 1.0,
    }
    assert verdict_of(PLAYED | finer).sentence.endswith(
        "100 steps of its teacher 95.0 %: the student is inferior."
    )
    planned = finer | {"success/student@1_vs_teacher@10/primary": 1.0}
    assert verdict_of(PLAYED | planned).sentence.endswith("its teacher 90.6 %: the student is not inferior.")
    assert (held_against(PLAYED | finer), held_against(PLAYED | planned)) == (None, "teacher@10")


@pytest.mark.parametrize(
    ("found", "conclusion"),
    [
        ({}, None),
        ({"difference": 0.1}, "not shown"),
        ({"difference": 0.1, "planned_pairs": 1001.0}, "unfinished"),
        ({"difference": 0.1, "planned_pairs": 1000.0}, "not shown"),
        ({"difference": 0.1, "noninferior": 0.0}, "inferior"),
        ({"difference": 0.1, "noninferior": 1.0, "superior": 0.0}, "not inferior"),
        ({"difference": 0.1, "noninferior": 1.0, "superior": 1.0}, "better"),
    ],
)
def test_one_word_for_a_pair(found: dict[str, float], conclusion: str | None) -> None:
    pair = "success/student@1_vs_teacher@10"
    below = {f"{pair}/{key}": value for key, value in found.items()}
    assert conclusion_of({"success/student@1/episodes": 1000.0} | below, pair) == conclusion


def test_a_student_that_played_alone_cannot_be_judged() -> None:
    alone = {
        "success/student@1": 0.45,
        "success/student@1/low": 0.356,
        "success/student@1/high": 0.548,
        "success/student@1/episodes": 100.0,
    }
    verdict = verdict_of(ENDPOINTS | alone)
    assert verdict.good is None
    assert verdict.sentence == (
        "One step of the student solves 45.0 % of 100 episodes (95 % interval 35.6 % to 54.8 %); the teacher was "
        "not played beside it."
    )


def test_little_or_nothing_was_measured() -> None:
    assert verdict_of({}).good is None
    assert verdict_of({}).sentence == "Nothing was measured that a verdict could rest on."
    assert verdict_of({"deploy/gap": 1.0}).good is None
    assert verdict_of({"deploy/gap": 3.0}).good is False
    assert verdict_of({"deploy/gap": 3.0}).sentence.startswith("The deploy gap is 3.0")


def test_steps_in_words() -> None:
    assert [steps_in_words(n) for n in (1, 2, 10, 50)] == ["one step", "two steps", "ten steps", "50 steps"]
