"""Each is a clear error before any training: it names the field, what it got, and the way out."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.builders import make_dataset, make_teacher_folder, repo_id

Run = Callable[..., dict[str, float]]


@pytest.fixture
def copy(teacher_folder: Path, tmp_path: Path) -> Path:
    """A copy of the teacher that may be damaged."""
    return shutil.copytree(teacher_folder, tmp_path / "copy" / "pretrained_model")


def test_missing_teacher(run: Run, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"teacher\.path=.*neither a folder here nor"):
        run(f"teacher.path={tmp_path}/nowhere")


def test_incomplete_teacher(run: Run, copy: Path) -> None:
    (copy / "policy_preprocessor.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"is incomplete: policy_preprocessor\.json missing"):
        run(f"teacher.path={copy}")


def test_teacher_without_an_adapter(run: Run, copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"type": "act"}))
    with pytest.raises(ValueError, match=r"policy type 'act' cannot be distilled: one forward pass"):
        run(f"teacher.path={copy}")


def test_action_wider_than_native(run: Run, tmp_path: Path) -> None:
    wide = make_teacher_folder(tmp_path / "wide", action_dim=38)
    with pytest.raises(ValueError, match="action_dim 38 exceeds max_action_dim 32 of this policy"):
        run(f"teacher.path={wide}", *_data(make_dataset(tmp_path / "wide_set", action_dim=38)))


def test_missing_statistics(run: Run, copy: Path) -> None:
    file = next(copy.glob("policy_preprocessor_step_*normalizer*.safetensors"))
    state = {name: value for name, value in load_file(file).items() if not name.startswith("action.")}
    save_file(state, file)
    with pytest.raises(ValueError, match=r"statistics action\.mean, action\.std are missing.*in silence"):
        run(f"teacher.path={copy}")


@pytest.mark.parametrize(
    ("robot", "message"),
    [
        ({"action_dim": 6}, r"action dimension does not fit: data set .* 6 .*the teacher expects 14; choose"),
        ({"state_dim": 6}, r"state dimension does not fit: data set .* 6 .*the teacher expects 14; choose"),
        (
            {"cameras": ("observation.images.wrist",)},
            r"the teacher sees \['observation.images.top'\].*has \['observation.images.wrist'\].*"
            r"data\.rename=\{observation.images.wrist:observation.images.top\}",
        ),
        (
            {"frames": 5},
            r"chunk length does not fit: .*chunk_size=8.*has 5 frames.*data\.allow_short_episodes=true",
        ),
    ],
)
def test_data_that_do_not_fit_the_teacher(run: Run, tmp_path: Path, robot: dict, message: str) -> None:
    other = make_dataset(tmp_path / "other", **robot)
    with pytest.raises(ValueError, match=message):
        run(*_data(other))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.episodes=[]", r"data\.episodes=\[\] chooses no episode"),
        ("data.episodes=[0,7]", r"data\.episodes names \[7\], but the data set has episodes 0 to 3"),
        ("data.val_episodes=[9]", r"data\.val_episodes names \[9\]"),
        ("data.episodes=[2]", r"no episode is left to train on"),
    ],
)
def test_episodes(run: Run, override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(override)


def test_missing_data(run: Run, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data\.root=.*nowhere is no LeRobotDataset v3"):
        run(f"data.root={tmp_path}/nowhere")


@pytest.mark.slow
def test_the_command_prints_one_line_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "reflow.train",
            "teacher.path=nowhere",
            "data.repo_id=x/y",
            f"run_dir={tmp_path}/r",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: teacher.path=nowhere is neither a folder here")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_several_devices_under_multirun_are_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reflow.train", "-m", "+fix=full32,valid14", "trainer.devices=2"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "trainer.devices=2 under --multirun" in done.stderr


def _data(root: Path) -> list[str]:
    return [f"data.repo_id={repo_id(root)}", f"data.root={root}"]
