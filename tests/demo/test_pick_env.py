"""The demo task as a LeRobot environment: the scene's own frames, states and rewards; the pick is its success."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lerobot.configs.parser import load_plugin
from lerobot.envs.configs import EnvConfig
from lerobot.envs.factory import make_env, make_env_config
from lerobot.envs.utils import env_to_policy_features

from reflow.demo.dataset import TASK
from reflow.demo.pick_env import PickEnv
from reflow.demo.scene import STATE_DIM, CubeRange
from tests.builders import TOP, make_teacher_folder


@pytest.fixture(scope="module")
def env() -> PickEnv:
    return PickEnv()


def test_shows_what_the_scene_shows_step_by_step(env, scene):
    rng = np.random.default_rng(0)
    scene.reset(3)
    seen, info = env.reset(seed=3)
    assert info == {"is_success": False}
    for _ in range(3):
        np.testing.assert_array_equal(seen["pixels"]["top"], scene.render())
        np.testing.assert_array_equal(seen["agent_pos"], scene.state())
        action = (scene.state() + rng.normal(0, 0.1, STATE_DIM)).astype(np.float32)
        reward = scene.step(action.astype(np.float64))
        seen, rewarded, terminated, truncated, info = env.step(action)
        assert (rewarded, terminated, truncated, info) == (reward, False, False, {"is_success": False})
    assert env.observation_space.contains(seen)


def test_the_pick_ends_the_episode_and_only_the_pick(env, scene, demonstrator):
    env.render_steps = False
    env.reset(seed=11)
    rewards = []
    for action in demonstrator.plan(CubeRange().sample(11), "left"):
        _, reward, terminated, _, info = env.step(action.astype(np.float32))
        rewards.append(reward)
        assert terminated is info["is_success"]
        if terminated:
            break
    env.render_steps = True
    assert terminated
    assert rewards[-5:] == [4.0] * 5
    assert rewards[-6] != 4.0


def test_a_pick_may_end_the_episode_later(env, scene, demonstrator):
    """At the next multiple of ``ends_every``, though the cube is let go before."""
    env.render_steps, env.ends_every = False, 100
    env.reset(seed=11)
    plan = demonstrator.plan(CubeRange().sample(11), "left")
    ended = [env.step(action)[2:5] for action in plan]
    env.render_steps, env.ends_every = True, 1
    assert [terminated for terminated, _, _ in ended] == [False] * 99 + [True]
    assert any(info["is_success"] for _, _, info in ended[:80])


def test_steps_need_not_render(env):
    env.render_steps = False
    blind, _ = env.reset(seed=5)
    looked = env.observe()
    env.render_steps = True
    seen, _ = env.reset(seed=5)
    assert not blind["pixels"]["top"].any()
    np.testing.assert_array_equal(blind["agent_pos"], seen["agent_pos"])
    np.testing.assert_array_equal(looked["pixels"]["top"], seen["pixels"]["top"])
    np.testing.assert_array_equal(env.render(), seen["pixels"]["top"])


def test_without_a_seed_cubes_vary_as_gymnasium_says(env):
    def cubes():
        env.reset(seed=1)
        return [env.reset() and env.scene.cube_position() for _ in range(2)]

    env.render_steps = False
    (first, second), (again, _) = cubes(), cubes()
    env.render_steps = True
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(first, again)


def test_lerobot_discovers_and_makes_it():
    load_plugin("reflow.demo.pick_env")
    config = make_env_config("pick", episode_length=2, cube_x=[0.1, 0.1], cube_y=[0.5, 0.5])
    assert isinstance(config, EnvConfig)
    assert {key: feature.shape for key, feature in env_to_policy_features(config).items()} == {
        "action": (14,),
        "observation.state": (14,),
        TOP: (3, 480, 640),
    }
    vector = make_env(config)["pick"][0]
    vector.envs[0].unwrapped.render_steps = False
    assert vector.call("_max_episode_steps") == (2,)
    assert vector.call("task_description") == (TASK,)
    vector.reset(seed=[0])
    np.testing.assert_allclose(vector.envs[0].unwrapped.scene.cube_position()[:2], [0.1, 0.5])
    action = np.zeros((1, STATE_DIM), np.float32)
    assert [vector.step(action)[3][0] for _ in range(2)] == [False, True]  # truncated
    vector.close()


def test_rejects_a_cube_range_the_scene_does_not_have():
    with pytest.raises(ValueError, match=r"CubeRange.x=\(0.0, 0.3\) must be \(low, high\) within"):
        make_env(make_env_config("pick", cube_x=(0.0, 0.3)))
    with pytest.raises(ValueError, match=r"CubeRange.y=\(0.5,\) must be"):
        make_env(make_env_config("pick", cube_y=[0.5]))


def test_rejects_a_window():
    with pytest.raises(ValueError, match="render_mode='human'; allowed: 'rgb_array'"):
        PickEnv(render_mode="human")


@pytest.mark.slow
def test_stock_lerobot_eval_plays_it(tmp_path):
    policy = make_teacher_folder(tmp_path / "policy")
    command = [
        *(
            sys.executable,
            "-m",
            "lerobot.scripts.lerobot_eval",
            f"--policy.path={policy}",
            "--policy.device=cpu",
        ),
        *("--env.type=pick", "--env.discover_packages_path=reflow.demo.pick_env", "--env.episode_length=4"),
        *("--eval.n_episodes=1", "--eval.batch_size=1", f"--output_dir={tmp_path / 'out'}", "--seed=100000"),
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    info = json.loads(Path(tmp_path, "out", "eval_info.json").read_text())
    assert info["overall"]["n_episodes"] == 1
