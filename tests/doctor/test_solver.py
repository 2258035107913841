"""Solver errors on a linear field, where every solver's endpoint is known."""

import pytest
import torch
from torch import Tensor

from reflow.doctor.solver import solver_check, solver_errors, solver_findings, solvers_to_try
from reflow.flow import EULER, HEUN, RK4
from reflow.probes import EndpointErrors, Observed, measure
from tests.doctor.conftest import FieldPolicy, looks


def euler(rate: float, steps: int) -> float:
    return (1 - rate / steps) ** steps


def endpoint_figures(observed: tuple[Observed, ...]) -> dict[str, float]:
    return measure(observed[0].by, observed, [EndpointErrors(reference_steps=100)]).metrics


def test_errors_are_those_of_the_closed_form() -> None:
    teacher = FieldPolicy(lambda x_t, t: x_t, num_steps=4)
    errors = solver_errors(looks(teacher), solvers_to_try(4), reference_steps=100)
    assert {len(values) for values in errors.values()} == {6}
    figures = means(errors)
    exact = 2.718281828459045**-1
    assert figures["euler@4"] == pytest.approx(1 - euler(1, 4) / exact, abs=2e-4)
    assert figures["euler@1"] == pytest.approx(1, rel=1e-4)
    assert figures["heun@2"] == pytest.approx((1 - 0.5 + 0.125) ** 2 / exact - 1, abs=2e-4)
    measured = endpoint_figures(looks(teacher))["teacher/solver_error"]
    assert measured == pytest.approx(1 - euler(1, 4) / euler(1, 100), rel=1e-4)
    assert figures["reference_gap"] == pytest.approx(1 - euler(1, 100) / exact, abs=2e-4)


def means(errors: dict[str, Tensor]) -> dict[str, float]:
    return {name: values.mean().item() for name, values in errors.items()}


def repeated(figures: dict[str, float]) -> dict[str, Tensor]:
    """The same error on each of eight observations, nearly."""
    return {name: value * torch.linspace(0.9, 1.1, 8) for name, value in figures.items()}


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 10])
def test_every_solver_is_tried_at_equal_calls_and_at_equal_steps(steps: int) -> None:
    tries = solvers_to_try(steps)
    assert len(set(tries)) == len(tries)
    assert {(EULER, 1), (EULER, 2), (EULER, 4), (EULER, steps), (HEUN, steps), (RK4, steps)} <= set(tries)
    assert (HEUN, max(1, steps // 2)) in tries


def test_a_large_error_asks_for_twice_the_steps_or_another_solver() -> None:
    teacher = FieldPolicy(lambda x_t, t: x_t, num_steps=4)
    check = solver_check(looks(teacher), solver_error=0.0, num_steps=4)
    found = {finding.name: finding for finding in check.findings}
    assert found["solver_error"].severity == found["better_solver"].severity == "warning"
    assert found["solver_error"].what_to_do == "teacher.num_steps=8"
    assert found["better_solver"].what_to_do == "solver=rk4 teacher.num_steps=1"


def test_a_field_that_is_wild_at_zero_shows_which_solvers_ask_there() -> None:
    def field(x_t: Tensor, t: Tensor) -> Tensor:
        return x_t + 50.0 * (t < 0.01)

    teacher = FieldPolicy(field, num_steps=4)
    figures = means(solver_errors(looks(teacher), solvers_to_try(4)))
    assert figures["midpoint@2"] < figures["euler@4"] < 0.2 < 2 < figures["heun@2"]


def test_a_straight_field_is_healthy() -> None:
    teacher = FieldPolicy(lambda x_t, t: (x_t - 1) / t, num_steps=10)
    check = solver_check(looks(teacher), solver_error=0.0, num_steps=10)
    assert [finding.severity for finding in check.findings] == ["ok"]


@pytest.mark.parametrize(("own", "severity"), [(0.04, "note"), (0.08, "warning")])
def test_a_better_solver_for_nothing(own: float, severity: str) -> None:
    figures = {"euler@10": own, "euler@20": own / 2, "heun@5": own / 5, "midpoint@5": own / 3}
    found = {finding.name: finding for finding in solver_findings(repeated(figures), 10, EULER, 0.0)}
    assert found["better_solver"].severity == severity
    assert found["better_solver"].what_to_do == "solver=heun teacher.num_steps=5"
    assert found["solver_error"].severity == "ok"


def test_a_solver_that_is_the_best_already_is_left_alone() -> None:
    figures = {"euler@10": 0.08, "heun@5": 0.01, "euler@20": 0.05}
    assert [finding.name for finding in solver_findings(repeated(figures), 5, HEUN, 0.0)] == ["solver_error"]


def test_one_observation_at_a_fork_prefers_no_solver() -> None:
    errors = repeated({"euler@10": 0.01, "euler@20": 0.01, "heun@5": 0.008})
    errors["euler@10"][0] = 1.0
    assert errors["euler@10"].mean() > 2 * errors["heun@5"].mean()
    assert "better_solver" not in {finding.name for finding in solver_findings(errors, 10, EULER, 0.0)}
