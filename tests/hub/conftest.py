"""A hub on this machine, for this process; a finished run whose student is to go there."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

from reflow.config import run_directory
from reflow.hub import Delivered
from reflow.push import push
from reflow.train import train
from tests.builders import make_dataset, make_teacher_folder, repo_id
from tests.distill.conftest import SMALL, composed
from tests.hub.server import OWNER, Hub

Push = Callable[..., Delivered | None]
CARD_OF_TEACHER = """---
license: cc-by-nc-4.0
base_model: lerobot/smolvla_base
---
# A teacher
"""


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A teacher with a card, a data set, and a finished run on them."""
    home = tmp_path_factory.mktemp("parts")
    teacher = make_teacher_folder(home / "my_teacher" / "pretrained_model", num_steps=4)
    (teacher / "README.md").write_text(CARD_OF_TEACHER)
    data = make_dataset(home / "set")
    overrides = [
        "+fix=full32",
        f"teacher.path={teacher}",
        f"data.repo_id={repo_id(data)}",
        f"data.root={data}",
        f"run_dir={home / 'run'}",
        *SMALL,
        "trainer.max_steps=1",
        "trainer.val_check_interval=1",
    ]
    config = composed(*overrides)
    train(config, run_directory(config, overrides))
    return {"teacher": teacher, "data": data, "run": home / "run"}


@pytest.fixture
def run(parts: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(parts["run"], tmp_path / "run"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that this process takes for the one that there is, and an owner's token."""
    hub = Hub()
    with hub.served() as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(_http.time, "sleep", lambda _: None)  # between its tries
        monkeypatch.setenv("HF_TOKEN", OWNER)
        yield hub


@pytest.fixture
def pushed(run: Path) -> Push:
    """``pushed(*overrides)``: the command on that run."""

    def start(*overrides: str, repo: str = "me/student") -> Delivered | None:
        return push(composed(f"run_dir={run}", f"repo_id={repo}", *overrides, config_name="push"))

    return start
