"""The errors that all metrics have in common."""

from typing import Any

import pytest
import torch

Case = Any  # of conftest.py
TAKE_SEVERAL = [
    "relative_velocity",
    "velocity_loss",
    "velocity_profile",
    "endpoint",
    "sensitivity",
    "straightness",
]


def test_chunks_of_another_width_are_refused(chunk_case: Case, as_users_run: None) -> None:
    data = chunk_case.data()
    for name in data.keys() - {"t"}:
        data[name] = data[name][..., :-1]
    with pytest.raises(ValueError, match=r"last dimension 8 \(max_action_dim\)"):
        chunk_case.metric().update(**data)


def test_less_than_a_chunk_is_refused(chunk_case: Case, as_users_run: None) -> None:
    flat = {name: torch.ones(8) for name in chunk_case.inputs}
    with pytest.raises(ValueError, match=r"has shape \(8,\); allowed: \[..., chunk_size, max_action_dim\]"):
        chunk_case.metric().update(**flat)


@pytest.mark.parametrize("case", TAKE_SEVERAL, indirect=True)
def test_different_shapes_are_refused(case: Case, as_users_run: None) -> None:
    data = case.data()
    names = [name for name in data if name not in ("t", "velocities")]
    data[names[1]] = data[names[1]][:1]  # would broadcast
    with pytest.raises(ValueError, match=r"has shape \(\d+, 4, 8\), \w+ \(\d+, 4, 8\); they must be equal"):
        case.metric().update(**data)
