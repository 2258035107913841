"""Statistics of a policy beside those of data: each oddity is named, with the joint it is at."""

from typing import Any

import numpy as np
import pytest
import torch

from reflow.doctor.normalisation import normalisation_check
from reflow.policies import SavedStatistics

NAMES = {"observation.state": ("waist", "elbow"), "action": ("waist", "elbow")}
MODES = {"STATE": "MEAN_STD", "ACTION": "MEAN_STD"}


def statistics(**action: Any) -> dict[str, dict[str, np.ndarray]]:
    feature = {"mean": [0.0, 1.0], "std": [1.0, 2.0], "min": [-2.0, -3.0], "max": [2.0, 5.0]}
    return {
        "observation.state": {name: np.array(value) for name, value in feature.items()},
        "action": {name: np.array(value) for name, value in {**feature, **action}.items()},
    }


def saved(data: dict[str, dict[str, np.ndarray]], modes: dict[str, str] = MODES) -> SavedStatistics:
    tensors = {
        f"{feature}.{name}": torch.tensor(value, dtype=torch.float32)
        for feature, values in data.items()
        for name, value in values.items()
    }
    return SavedStatistics(tensors, modes)


def check(policy: Any = None, data: Any = None, endpoints: torch.Tensor | None = None) -> Any:
    policy = policy or saved(statistics())
    found = normalisation_check(policy, statistics() if data is None else data, NAMES, endpoints)
    return found, {finding.name: finding for finding in found.findings}


@pytest.mark.parametrize("mode", ["MEAN_STD", "MIN_MAX"])
def test_the_teacher_s_own_data_are_healthy(mode: str) -> None:
    policy = saved(statistics(), {"STATE": mode, "ACTION": mode})
    found, findings = check(policy, endpoints=torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    assert findings.keys() == {"normalisation"}
    low = found.figures["action/elbow/normalised_low"]
    assert low == pytest.approx(-2.0 if mode == "MEAN_STD" else -1.0)
    assert found.figures["action/elbow/endpoint_low"] == pytest.approx(-1.0 if mode == "MEAN_STD" else -3.0)
    assert found.figures["action/elbow/std_ratio"] == pytest.approx(1.0)


def test_data_far_outside() -> None:
    data = statistics(max=[12.0, 5.0])
    _, findings = check(data=data)
    assert findings["normalised_range"].severity == "warning"
    assert "waist (12)" in findings["normalised_range"].what
    assert "elbow" not in findings["normalised_range"].what


@pytest.mark.parametrize(
    ("other", "joint"),
    [({"mean": [0.0, 4.0]}, "elbow"), ({"std": [0.4, 2.0]}, "waist"), ({"std": [1.0, 5.0]}, "elbow")],
)
def test_other_data(other: dict[str, list[float]], joint: str) -> None:
    _, findings = check(data=statistics(**other))
    assert findings["other_statistics"].severity == "warning"
    assert f"not the policy's at {joint}:" in findings["other_statistics"].what


def test_a_joint_that_never_moves_is_a_note_where_the_data_agree() -> None:
    still = statistics(std=[0.0, 2.0], min=[0.0, -3.0], max=[0.0, 5.0])
    found, findings = check(saved(still), still)
    assert {name: finding.severity for name, finding in findings.items()} == {"constant_joint": "note"}
    assert np.isnan(found.figures["action/waist/normalised_low"])


def test_and_an_error_where_they_do_not() -> None:
    _, findings = check(saved(statistics(std=[0.0, 2.0])))
    assert findings["constant_joint"].severity == "error"
    assert "waist never move, the data say that they do" in findings["constant_joint"].what


def test_endpoints_that_leave_the_data_s_range() -> None:
    inside, outside = torch.tensor([[-2.5, 0.0], [2.5, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 5.0]])
    assert "endpoint_range" not in check(endpoints=inside)[1]
    finding = check(endpoints=outside)[1]["endpoint_range"]
    assert finding.severity == "warning"
    assert "elbow (0.75)" in finding.what  # 3 beyond 2, of a range of 4


def test_what_cannot_be_compared_is_said() -> None:
    found, findings = check(saved(statistics(), {"STATE": "IDENTITY", "ACTION": "MEAN_STD"}), {})
    assert {"no_statistics", "not_normalised"} <= findings.keys()
    assert found.tables[0].rows[0][1:] == ("-", "-", "-", "-")
    assert all(finding.severity == "note" for finding in findings.values())
