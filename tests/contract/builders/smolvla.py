"""A SmolVLA of a few thousand parameters: 14 real dimensions of 32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reflow.policies import FlowPolicy
from tests.builders import make_policy, make_vlm_folder
from tests.contract.cases import Case


def make(scratch: Path, **config: Any) -> FlowPolicy:
    return make_policy(make_vlm_folder(scratch / "smolvlm"), **({"num_steps": 4} | config))


CASES = {"smolvla": Case(make, padding="free")}
