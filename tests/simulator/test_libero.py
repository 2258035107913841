"""What is said where LIBERO's package, settings or meshes are missing, on made-up folders; and its cameras."""

import importlib.util
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from reflow.errors import NotInstalledError
from reflow.simulator import libero
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.runtime import check_runtime
from tests.simulator.test_environment import policy

CAMERA_1_2 = ("observation.images.camera1", "observation.images.camera2")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LIBERO_CONFIG_PATH", raising=False)
    return tmp_path


@pytest.mark.skipif(importlib.util.find_spec("libero") is not None, reason="it is installed")
def test_the_package_is_asked_for_then_its_settings_then_its_meshes(home, monkeypatch):
    settings = EnvironmentSettings("libero", {"task": "libero_goal"})
    with pytest.raises(NotInstalledError, match=r"pip install 'lerobot\[libero\]'"):
        check_runtime(settings)
    package = home / "site" / "libero"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    with pytest.raises(NotInstalledError, match=rf"needs {home}/.libero/config.yaml.*import libero.libero"):
        check_runtime(settings)
    (home / ".libero").mkdir()
    (home / ".libero/config.yaml").touch()
    with pytest.raises(
        NotInstalledError, match=rf"hf download .*lerobot/libero-assets --local-dir {home}/.cache"
    ):
        check_runtime(settings)
    for name in libero._MESHES:
        (home / ".cache/libero/assets" / name).mkdir(parents=True)
    check_runtime(settings)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (CAMERA_1_2, dict(zip(libero.CAMERAS, CAMERA_1_2, strict=True))),
        (CAMERA_1_2[:1], {libero.CAMERAS[0]: CAMERA_1_2[0]}),
        (libero.CAMERAS, {}),
    ],
)
def test_cameras_are_known_by_the_names_policies_give_them(wanted, expected):
    assert libero.camera_map(wanted) == expected
    assert EnvironmentSettings("libero").rename_for(policy(wanted), {}) == expected


class TakesTurns(gymnasium.Env):
    """As LeRobot's LiberoEnv: each reset starts in the next of three initial states."""

    observation_space, init_state_id = gymnasium.spaces.Discrete(3), 0

    def reset(self, *, seed=None, options=None):
        state = np.int64(self.init_state_id % 3)
        self.init_state_id += 1
        return state, {}


def test_an_episode_starts_in_the_state_of_its_seed():
    stock, env = TakesTurns(), libero.EpisodeOfSeed(TakesTurns())
    assert [stock.reset(seed=seed)[0] for seed in (0, 1, 2, 3)] == [0, 1, 2, 0]
    assert [env.reset(seed=seed)[0] for seed in (0, 1, 2, 3)] == [0, 1, 2, 0]
    assert [env.reset(seed=seed)[0] for seed in (2, 5, 1, 1)] == [2, 2, 1, 1]
    assert env.reset()[0] == 2  # without a seed, as stock
