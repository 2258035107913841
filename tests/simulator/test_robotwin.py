"""RoboTwin through LeRobot's own wrapper, on a made-up runtime; as far as LeRobot's own tests go."""

import sys
from pathlib import Path

import numpy as np
import pytest

from reflow.policies import load_policy
from reflow.simulator import robotwin
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.environment import EnvironmentSettings, check_fit
from reflow.simulator.rollout import Player
from reflow.simulator.runtime import check_runtime
from tests.builders import make_teacher_folder

TASK = "beat_block_hammer"
CAMERA_1_TO_3 = tuple(f"observation.images.camera{number}" for number in (1, 2, 3))
CAM_HIGH = tuple(f"observation.images.cam_{name}" for name in ("high", "left_wrist", "right_wrist"))

# What LeRobot's wrapper asks of RoboTwin: setup_demo, get_obs, take_action, check_success, and four YAML files.
_TASK_MODULE = """
import numpy as np

class beat_block_hammer:
    def setup_demo(self, seed, is_test, **kwargs):
        assert is_test and kwargs["task_name"] == "beat_block_hammer"
        self.rng, self.joints, self.taken = np.random.default_rng(seed), np.zeros(14), []

    def get_obs(self):
        cameras = ("head_camera", "left_camera", "right_camera")
        frames = {name: {"rgb": self.rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)} for name in cameras}
        return {"observation": frames, "joint_action": {"vector": self.joints}}

    def take_action(self, action):
        self.taken.append(action)
        self.joints = np.asarray(action, dtype=float)

    def check_success(self):
        return len(self.taken) == 6
"""


@pytest.fixture
def runtime(tmp_path, monkeypatch) -> Path:
    """A folder in the shape of a RoboTwin checkout, on the path."""
    root = tmp_path / "RoboTwin"
    for name, content in {
        "envs/__init__.py": "import pathlib\nCONFIGS_PATH = pathlib.Path(__file__).parents[1] / 'task_config'\n",
        f"envs/{TASK}.py": _TASK_MODULE,
        "task_config/demo_clean.yml": "embodiment: [aloha-agilex]\ncamera: {head_camera_type: D435}\n",
        "task_config/_embodiment_config.yml": f"aloha-agilex: {{file_path: {root}}}\n",
        "task_config/_camera_config.yml": "D435: {h: 24, w: 32}\n",
        "config.yml": "{}\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    monkeypatch.syspath_prepend(root)
    yield root
    for name in [name for name in sys.modules if name == "envs" or name.startswith("envs.")]:
        del sys.modules[name]


def settings(**given) -> EnvironmentSettings:
    fields = {"task": TASK, "episode_length": 9, "observation_height": 24, "observation_width": 32}
    return EnvironmentSettings("robotwin", fields, **given)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (CAMERA_1_TO_3, dict(zip(robotwin.CAMERAS, CAMERA_1_TO_3, strict=True))),
        (CAM_HIGH, dict(zip(robotwin.CAMERAS, CAM_HIGH, strict=True))),
        (CAM_HIGH[:1], {robotwin.CAMERAS[0]: CAM_HIGH[0]}),
        (robotwin.CAMERAS, {}),
        (("observation.images.top",), {}),
        ((), {}),
    ],
)
def test_cameras_are_known_by_the_names_policies_give_them(wanted, expected):
    assert robotwin.camera_map(wanted) == expected


def test_says_what_to_install_where_the_runtime_is_missing():
    with pytest.raises(
        ModuleNotFoundError, match=r"envs.beat_block_hammer is not on PYTHONPATH.*script/_install.sh"
    ):
        check_runtime(settings())


def test_finds_the_runtime_and_misses_a_task(runtime):
    check_runtime(settings())
    with pytest.raises(ModuleNotFoundError, match=r"envs.click_bell is not on PYTHONPATH"):
        check_runtime(EnvironmentSettings("robotwin", {"task": "click_bell"}))


@pytest.mark.parametrize("cameras", [robotwin.CAMERAS, CAMERA_1_TO_3, CAM_HIGH])
def test_a_policy_of_three_cameras_and_fourteen_joints_fits(tmp_path, cameras):
    policy = load_policy(make_teacher_folder(tmp_path / "policy", cameras=cameras)).config
    check_fit(settings().make_config(), policy, settings().rename_for(policy, {}), "student")


def test_other_cameras_are_told_how_to_rename(tmp_path):
    policy = load_policy(make_teacher_folder(tmp_path / "policy", cameras=("observation.images.top",))).config
    with pytest.raises(
        ValueError, match=r"head_camera.*'env.rename={observation.images.head_camera:observation.images.top}'"
    ):
        check_fit(settings().make_config(), policy, settings().rename_for(policy, {}), "student")


def test_plays_lerobots_wrapper_until_success(runtime, tmp_path):
    folder = make_teacher_folder(tmp_path / "policy", cameras=CAMERA_1_TO_3, n_action_steps=4)
    contender = Contender("student", folder, 1)
    player = Player(Conditions(settings()))
    episode, actions = player.play(contender, 3)
    assert (episode.success, episode.length, episode.max_reward, episode.sum_reward) == (True, 6, 1.0, 1.0)
    assert actions.shape == (6, 14)
    again, same = player.play(contender, 3)
    assert again == episode
    np.testing.assert_array_equal(actions, same)
    assert np.abs(actions - player.play(contender, 4)[1]).max() > 1e-4
    assert player.instruction() == "beat block hammer"  # the task's name in words, as LeRobot says it
    player.close()
