"""The commands as users give them, in processes of their own that know the hub by its address alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from reflow.config.origin import read_origin
from reflow.policies.sums import SUMS
from tests.builders import repo_id
from tests.distill.conftest import SMALL
from tests.hub.server import OWNER, Hub

EVALUATION = (
    "nfe=[1]",
    "reference_steps=4",
    "val_draws=1",
    "straightness_steps=2",
    "distribution_frames=2",
    "latency_chunks=0",
    "data.val_frames=2",
    "data.batch_size=2",
    "viewer=rerun",
    "viewer_episodes=1",
)
DRIVER = """
import contextlib, io, json, os, re, sys
from pathlib import Path
asked = json.loads(sys.argv[1])

def give(name, *words):
    module = __import__(f"reflow.{name}", fromlist=["main"])
    sys.argv = [name, *words]
    module.main()

said = io.StringIO()
with contextlib.redirect_stdout(said):
    give("push", f"run_dir={asked['run']}", "repo_id=me/student")
commit = re.search(r"commit +(\\w{40})", said.getvalue())[1]
data = [f"data.repo_id={asked['repo_id']}", f"data.root={asked['data']}"]
give("evaluate", f"student.path=me/student@{commit}", f"teacher.path={asked['teacher']}", *data, *asked["evaluation"])
give("train", "+fix=full32", f"teacher.path=me/student@{commit}", *data, "run_dir=second", *asked["small"])

import torch
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from reflow.policies import find_folder
os.environ["HF_HUB_OFFLINE"] = "1"
os.chdir(find_folder(f"me/student@{commit}"))
policy = SmolVLAPolicy.from_pretrained(".")  # as the card has it: inside of the folder
make_pre_post_processors(policy.config, ".", preprocessor_overrides={"device_processor": {"device": "cpu"}})
print("DONE", json.dumps({"commit": commit, "steps": policy.config.num_steps}))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path


def environment(home: Path, address: str, token: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HF_ENDPOINT": address,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(home / "hf"),
        "REFLOW_CACHE": str(home / "cache"),
        "HF_TOKEN": token,
    }


def files_with(text: str, *folders: Path) -> list[Path]:
    files = (file for folder in folders for file in folder.rglob("*") if file.is_file())
    return [file for file in files if text.encode() in file.read_bytes()]


@pytest.mark.slow
def test_a_student_goes_to_the_hub_and_comes_back(parts: dict[str, Path], home: Path) -> None:
    hub, asked = Hub(), {key: str(path) for key, path in parts.items()}
    asked |= {"repo_id": repo_id(parts["data"]), "evaluation": EVALUATION}
    asked["small"] = [*SMALL, "trainer.max_steps=1", "trainer.val_check_interval=1"]
    with hub.served() as address:
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, json.dumps(asked)],
            cwd=home / "here",
            env=environment(home, address, OWNER),
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.rpartition("DONE ")[2])
    assert found["steps"] == 1
    commit = found["commit"]

    evaluated = home / "here" / "outputs" / f"evaluation-student@{commit}"
    metrics = json.loads((evaluated / "metrics.json").read_text())
    own = json.loads((parts["run"] / "metrics.json").read_text())
    assert metrics["student/endpoint_error@1"] > 0
    assert own["student/endpoint_error@1"] > 0
    assert (evaluated / "teacher_and_student.rrd").stat().st_size > 1000

    second = home / "here" / "second"
    origin = read_origin(second)
    assert origin is not None
    assert (origin.teacher.repo_id, origin.teacher.revision) == ("me/student", commit)
    weights = parts["run"] / "pretrained_model" / "model.safetensors"
    lines = (parts["run"] / "pretrained_model" / SUMS).read_text().splitlines()
    assert f"{origin.teacher.files['model.safetensors']}  model.safetensors" in lines
    assert load_file(weights).keys() == load_file(second / "pretrained_model" / "model.safetensors").keys()
    card = (second / "pretrained_model" / "README.md").read_text()
    assert "base_model:\n- me/student\n" in card
    assert commit in card
    assert "license: cc-by-nc-4.0" in card  # of the teacher's teacher

    assert OWNER in hub.bearers
    assert OWNER not in done.stdout + done.stderr
    assert not files_with(OWNER, home, parts["run"])


@pytest.mark.slow
@pytest.mark.parametrize("full", ["0", "1"])
def test_a_bad_token_is_in_no_line_and_no_file(parts: dict[str, Path], home: Path, full: str) -> None:
    token = "hf_nobodyknowsthistoken"
    with Hub().served() as address:
        done = subprocess.run(
            [sys.executable, "-m", "reflow.push", f"run_dir={parts['run']}", "repo_id=me/student"],
            cwd=home / "here",
            env=environment(home, address, token) | {"HYDRA_FULL_ERROR": full},
            capture_output=True,
            text=True,
        )
    assert done.returncode == (2 if full == "0" else 1)
    assert "me/student was not pushed: 401: the hub knows no such token" in done.stderr
    assert ("Traceback" in done.stderr) == (full == "1")
    assert token not in done.stdout + done.stderr
    assert not files_with(token, home, parts["run"])
