"""The terminal shows our own lines, and what the user asked to see; how threads wait is the user's, if said."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reflow import threads
from reflow.quiet import unprinted
from tests.builders import make_dataset, make_teacher_folder, repo_id
from tests.distill.conftest import SMALL

NOT_OURS = ("LeafSpec", "deprecated", "Reducing the number of VLM layers", "Traceback", "libtorchcodec")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    scratch = tmp_path_factory.mktemp("quiet")
    root = make_dataset(scratch / "set")
    teacher = make_teacher_folder(scratch / "pretrained_model", num_steps=4)
    return [f"teacher.path={teacher}", f"data.repo_id={repo_id(root)}", f"data.root={root}"]


@pytest.mark.parametrize("wanted", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_training_shows_what_others_say_only_when_asked(
    inputs: list[str], tmp_path: Path, wanted: bool
) -> None:
    changes = {"HYDRA_FULL_ERROR": "1"} if wanted else {}
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONWARNINGS", "HYDRA_FULL_ERROR")}
    command = [
        sys.executable,
        "-m",
        "reflow.train",
        "+fix=full32",
        *inputs,
        *SMALL,
        f"run_dir={tmp_path / 'run'}",
    ]
    shown = subprocess.run(
        [*command, "trainer.max_steps=2", "trainer.val_check_interval=2"],
        env=environment | changes,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout
    assert "finished" in shown.stdout
    found = [words for words in NOT_OURS if words in shown.stdout]
    assert ("Reducing the number of VLM layers" in found) if wanted else found == [], shown.stdout


def test_without_ffmpeg_lerobot_writes_no_pages() -> None:
    code = (
        "import sys, types; from reflow.quiet import hush; hush()\n"
        "from lerobot.utils import import_utils\n"
        "def fail(name): raise RuntimeError('pages of libtorchcodec traceback')\n"
        "import_utils.importlib.import_module = fail\n"
        "print(import_utils.get_safe_default_video_backend())"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONWARNINGS", "HYDRA_FULL_ERROR")}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert (shown.stdout, shown.stderr) == ("pyav\n", "")


def test_an_error_while_building_comes_through(capsys: pytest.CaptureFixture[str]) -> None:
    def build() -> None:
        with unprinted():
            print("not ours")
            raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        build()
    print("ours")
    assert capsys.readouterr().out == "ours\n"


def test_threads_sleep_beside_others_unless_the_user_says_how_they_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asleep = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
    for said, idle, expected in (
        ({"OMP_NUM_THREADS": "2"}, 1.0, asleep),
        ({"OMP_NUM_THREADS": "2"}, 1.9, {}),
        ({"OMP_NUM_THREADS": "1"}, 0.0, {}),
        ({"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "ACTIVE"}, 0.0, {}),
        ({"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "1000"}, 0.0, {}),
    ):
        monkeypatch.setattr(threads, "idle_cores", lambda idle=idle: idle)
        environment = dict(said)
        threads.choose_waiting(environment)
        assert environment == said | expected


def test_the_machine_tells_its_idle_cores() -> None:
    assert 0 <= threads.idle_cores() <= (os.cpu_count() or 1) + 1


def test_it_is_said_before_torch_is_loaded() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "import reflow, sys; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
    )
    assert shown.stdout == "False\n"
