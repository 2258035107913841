"""Every policy from end to end: examined, distilled, and its student in LeRobot alone, in a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import repo_id
from tests.contract.conftest import Subject
from tests.distill.conftest import SMALL

ROOT = Path(__file__).parents[2]

ALONE = """
import json, sys
from pathlib import Path
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.datasets.lerobot_dataset import LeRobotDataset

folder, repo_id, root = sys.argv[1:]
config = PreTrainedConfig.from_pretrained(folder)
policy = get_policy_class(config.type).from_pretrained(folder).eval()
cpu = {"device_processor": {"device": "cpu"}}
preprocess, postprocess = make_pre_post_processors(
    policy.config, pretrained_path=folder, preprocessor_overrides=cpu, postprocessor_overrides=cpu
)
frame = LeRobotDataset(repo_id, root=root)[0]
seen = {key: value for key, value in frame.items() if key.startswith("observation.") or key == "task"}
policy.reset()
torch.manual_seed(0)
actions = [postprocess(policy.select_action(preprocess(dict(seen)))) for _ in range(2)]
assert not any(name.startswith("reflow") for name in sys.modules)
print(json.dumps([action.flatten().tolist() for action in actions]))
"""


def run(subject: Subject, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **environment, **subject.case.environment(subject.folder)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_it_is_examined_and_distilled_and_its_student_acts_in_lerobot_alone(
    subject: Subject, dataset: Path, tmp_path: Path
) -> None:
    data = ("data=lerobot", f"data.repo_id={repo_id(dataset)}", f"data.root={dataset}")
    mine = (f"teacher.path={subject.folder}", *data)
    few = ("data.val_frames=4", "val_draws=2", "reference_steps=8", "nfe=[1,2]", "objective.draws=2")
    looked = run(subject, "-m", "reflow.diagnose", *mine, *few, "--json")
    assert looked.returncode in (0, 1), looked.stderr
    findings = {finding["name"]: finding for finding in json.loads(looked.stdout)["findings"]}
    assert findings["exactness"]["severity"] == "ok", findings["exactness"]
    assert "cost" in findings

    folder = tmp_path / "run"
    done = run(subject, "-m", "reflow.train", "+fix=full32", *mine, *SMALL, f"run_dir={folder}")
    assert done.returncode == 0, done.stderr
    assert "student/endpoint_error@1" in json.loads((folder / "metrics.json").read_text())

    acted = run(subject, "-c", ALONE, str(folder / "pretrained_model"), repo_id(dataset), str(dataset))
    assert acted.returncode == 0, acted.stderr
    first, second = json.loads(acted.stdout.splitlines()[-1])
    assert len(first) == len(second) == 14
    assert all(abs(value) < 1e6 for value in first + second)
