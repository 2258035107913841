"""The adapter against LeRobot on a small real checkpoint; and a wrong adapter, which must be found out."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reflow.doctor.exactness import exactness_check, exactness_finding
from reflow.doctor.examine import _endpoints
from reflow.policies import FlowPolicy, load_policy
from reflow.policies.smolvla import SmolVLAFlow
from tests.builders import make_batch
from tests.doctor.conftest import seen_by


def observed(teacher: FlowPolicy) -> Any:
    return seen_by(teacher, make_batch(teacher, 3))


def test_the_adapter_is_exact(teacher_folder: Path) -> None:
    teacher = load_policy(teacher_folder)
    check = exactness_check(teacher, observed(teacher))
    assert check.figures["velocity_difference"] == check.figures["endpoint_difference"] == 0.0
    assert check.figures["velocity_max"] > 0.1
    assert check.findings[0].severity == "ok"


def test_it_is_exact_with_lerobot_s_conversion_to_aloha(teacher_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(teacher_folder, tmp_path / "teacher")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"adapt_to_pi_aloha": True}))
    teacher = load_policy(folder)
    one = observed(teacher)
    assert exactness_check(teacher, one).findings[0].severity == "ok"
    # What is held against the data's actions is what stock inference gives, after the conversion.
    stock = torch.stack([teacher.stock_chunk(one.batch, one.randn[:, k]) for k in range(2)], 1)
    assert torch.equal(_endpoints(teacher, [one], range(3)), stock.flatten(0, -2))


class Wrong(SmolVLAFlow):
    """An adapter that gets the time a little wrong."""

    def velocity(self, context: Any, x_t: Tensor, t: Tensor) -> Tensor:
        return super().velocity(context, x_t, 0.9 * t)


def test_a_wrong_adapter_is_an_error(teacher_folder: Path) -> None:
    wrong = Wrong(load_policy(teacher_folder).policy).eval()
    check = exactness_check(wrong, observed(wrong))
    assert check.figures["velocity_difference"] > 1e-3
    assert check.figures["endpoint_difference"] > 1e-3
    assert check.findings[0].severity == "error"


@pytest.mark.parametrize("difference", [1e-2, float("nan"), float("inf")])
def test_anything_but_rounding_is_an_error(difference: float) -> None:
    figures = {
        "velocity_difference": 1e-6,
        "velocity_max": 2.0,
        "endpoint_difference": 1e-6,
        "endpoint_max": 2.0,
    }
    assert exactness_finding(figures).severity == "ok"
    for name in ("velocity_difference", "endpoint_difference"):
        assert exactness_finding({**figures, name: difference}).severity == "error"
