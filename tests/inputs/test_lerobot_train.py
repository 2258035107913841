"""What LeRobot's own training leaves goes straight into every command, and what comes out into LeRobot's own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from reflow.demo import embedded
from reflow.policies import load_policy, save_policy

pytestmark = pytest.mark.slow
SMALL = (
    *("data.batch_size=2", "data.val_frames=4", "objective.draws=1"),
    *("callbacks.endpoints.reference_steps=10", "callbacks.flow=null", "callbacks.progress=null"),
    *("trainer.max_steps=3", "trainer.val_check_interval=3"),
)


def run(*command: str, cwd: Path, code: Sequence[int] = (0,)) -> str:
    """A command in a process of its own, offline; what it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MUJOCO_GL": "egl"}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "REFLOW_CACHE": str(cwd / "cache")}
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode in code, done.stdout + done.stderr
    return done.stdout + done.stderr


def reflow(name: str, *overrides: str, cwd: Path, code: Sequence[int] = (0,)) -> str:
    said = run(sys.executable, "-m", f"reflow.{name}", *overrides, cwd=cwd, code=code)
    assert "Traceback" not in said
    return said


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy fine-tuned by ``lerobot-train`` for five steps, plainly and by an adapter."""
    root = tmp_path_factory.mktemp("lerobot")
    base = save_policy(load_policy(embedded.TEACHER), embedded.TEACHER, root / "base")
    for name, more in (("plain", ()), ("adapter", ("--peft.method_type=LORA", "--peft.r=4"))):
        run(
            str(Path(sys.executable).parent / "lerobot-train"),
            *(f"--policy.path={base}", "--policy.push_to_hub=false", "--policy.device=cpu"),
            *(f"--dataset.repo_id={embedded.REPO_ID}", f"--dataset.root={embedded.DATA}", "--num_workers=0"),
            *("--steps=5", "--save_freq=5", "--batch_size=2", f"--output_dir={root / name}"),
            *("--wandb.enable=false", *more),
            cwd=root,
        )
    return root


@pytest.mark.parametrize("name", ["plain", "adapter"])
def test_from_lerobot_train_to_lerobot_eval(name: str, trained: Path, tmp_path: Path) -> None:
    given = [
        f"teacher.path={trained / name}",
        f"data.repo_id={embedded.REPO_ID}",
        f"data.root={embedded.DATA}",
    ]
    found = json.loads(
        reflow(
            *("diagnose", "--json", *given, "data.val_frames=4", "data.batch_size=4", "reference_steps=10"),
            *("val_draws=2", "trainer.max_steps=5"),
            cwd=tmp_path,
            code=(0, 1),
        ).partition("\nnote:")[0]
    )
    assert (
        found["figures"]["exactness/velocity_difference"] <= 1e-4 * found["figures"]["exactness/velocity_max"]
    )

    said = reflow("train", "+fix=full32", f"run_dir={tmp_path / 'run'}", *SMALL, *given, cwd=tmp_path)
    assert "checkpoints/last/pretrained_model" in said, "where it went down to is said"
    assert ("adapter" in said) == (name == "adapter")
    student = tmp_path / "run" / "pretrained_model"
    assert json.loads((student / "config.json").read_text())["use_peft"] is False

    run(
        str(Path(sys.executable).parent / "lerobot-eval"),
        *(f"--policy.path={student}", "--policy.device=cpu", f"--output_dir={tmp_path / 'eval'}"),
        *("--env.type=pick", "--env.discover_packages_path=reflow.demo.pick_env", "--env.episode_length=4"),
        *("--eval.n_episodes=1", "--eval.batch_size=1"),
        cwd=tmp_path,
    )
    assert json.loads((tmp_path / "eval" / "eval_info.json").read_text())["overall"]["n_episodes"] == 1
