"""One student for several numbers of steps: where it is trained, what is saved, measured and refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reflow.cli import build
from reflow.config.parts import step_counts
from reflow.config.train import check_settings
from reflow.errors import UserError
from reflow.flow import GridTime
from reflow.objectives import FlowMatching, Reflow
from reflow.policies import RTC_FLAG, load_policy
from reflow.probes import EndpointErrors
from tests.distill.conftest import composed

Run = Callable[..., dict[str, float]]


def test_a_student_of_several_numbers_of_steps_is_saved_with_the_fewest_and_measured_at_each(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = run("+fix=full32", "student.num_steps=[3,1]")
    errors = {n: metrics[f"student/endpoint_error@{n}"] for n in (1, 3)}
    assert 0 < errors[3] < errors[1]  # hardly trained: as the teacher, nearer with more steps
    assert metrics["teacher/endpoint_error@3"] > 0
    assert "deploy/loss_at_trained_times" in metrics  # not the times of one step alone
    folder = tmp_path / "run"
    assert load_policy(folder / "pretrained_model").num_steps == 1
    assert json.loads((folder / "report.json").read_text())["num_steps"] == 1
    said = capsys.readouterr().out
    assert RTC_FLAG in said
    assert run("+fix=full32", "student.num_steps=[3,1]") == metrics  # finished already: said again
    assert RTC_FLAG in capsys.readouterr().out


def test_the_configuration_gives_the_numbers_to_times_and_measurement() -> None:
    config = composed("student.num_steps=[4,1,2]")
    assert step_counts(config) == (1, 2, 4)
    objective = build(config.objective)
    assert isinstance(objective, Reflow)
    assert (objective.time, objective.times) == (GridTime((1, 2, 4)), 4)
    assert build(composed("student.num_steps=[5,3]").callbacks.endpoints).nfe == (1, 2, 4, 10, 5, 3)
    matching = build(composed("student.num_steps=[1,2]", "objective=flow_matching").objective)
    assert isinstance(matching, FlowMatching)
    assert matching.times == 2
    assert step_counts(composed("student.num_steps=3")) == (3,)
    assert EndpointErrors([2, 1]).nfe == (2, 1)


def test_an_objective_of_one_number_of_steps_refuses_several(run: Run) -> None:
    with pytest.raises(UserError, match=r"num_steps=\[1, 2\] with SnapFlow, whose student is for one number"):
        run("+fix=full32", "student.num_steps=[1,2]", "objective=snapflow", "time=uniform")


@pytest.mark.parametrize("given", ["[]", "[1,0]", "[1,a]", "half", "[1,2.5]", "true"])
def test_what_is_no_number_of_steps_is_refused(given: str) -> None:
    with pytest.raises(UserError, match=r"student\.num_steps=.*; allowed: 1 or more, or several"):
        check_settings(composed(f"student.num_steps={given}"))
