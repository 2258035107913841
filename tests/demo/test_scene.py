"""The scene is the stock one, frame by frame; and what the policy sees is what is recorded."""

import os
import subprocess
import sys

import gym_aloha  # noqa: F401  registers the environment
import gymnasium
import numpy as np
import pytest
import torch
from gym_aloha.utils import sample_box_pose
from lerobot.policies.common.vla_utils import resize_with_pad

from reflow.data.shrink import shrink_frame
from reflow.demo.dataset import BOX, SIZE
from reflow.demo.scene import (
    STATE_DIM,
    STOCK_RANGE,
    CubeRange,
    PickScene,
    is_picked,
)
from reflow.simulator import gl


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_equals_the_stock_environment_observation_for_observation():
    mine = PickScene(STOCK_RANGE)
    stock = gymnasium.make(
        "gym_aloha/AlohaTransferCube-v0", obs_type="pixels_agent_pos", disable_env_checker=True
    )
    rng = np.random.default_rng(0)
    mine.reset(seed=3)
    expected, _ = stock.reset(seed=3)
    for step in range(4):
        before = mine.state()
        np.testing.assert_array_equal(before, expected["agent_pos"])
        np.testing.assert_array_equal(mine.render(), expected["pixels"]["top"])
        action = (before + rng.normal(0, 0.1, STATE_DIM)).astype(np.float32)
        reward = mine.step(action)
        expected, stock_reward, *_ = stock.step(action)
        assert reward == stock_reward, step
    assert np.abs(mine.state() - before).max() > 0.01  # something moved
    stock.close()


def test_a_frame_is_a_copy(scene):
    scene.reset(0)
    before = scene.render()
    kept = before.copy()
    scene.step(scene.state() + 0.3)
    assert not np.array_equal(scene.render(), kept)
    np.testing.assert_array_equal(before, kept)


def test_same_seed_same_cube_other_seed_other_cube(scene):
    first, second, again = scene.reset(5), scene.reset(6), scene.reset(5)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(scene.cube_position(), first[:3])
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_stock_range_draws_the_poses_of_gym_aloha(seed):
    np.testing.assert_array_equal(STOCK_RANGE.sample(seed), sample_box_pose(seed))


def test_cube_stays_in_its_range():
    cube = CubeRange(x=(0.02, 0.06), y=(0.5, 0.58))
    positions = np.stack([cube.sample(seed)[:2] for seed in range(200)])
    low, high = positions.min(0), positions.max(0)
    assert np.all(low >= [0.02, 0.5])
    assert np.all(high <= [0.06, 0.58])
    assert np.all(high - low > [0.035, 0.07])


@pytest.mark.parametrize(
    "axes",
    [{"x": (-0.1, 0.1)}, {"x": (0.15, 0.05)}, {"y": (0.5, 0.7)}, {"y": (0.5,)}, {"x": (0.0, float("nan"))}],
)
def test_rejects_a_cube_range_the_scene_does_not_have(axes):
    with pytest.raises(ValueError, match=rf"CubeRange.{next(iter(axes))}=.* within gym-aloha's own"):
        CubeRange(**axes)


def test_rejects_a_chunk_of_actions(scene):
    with pytest.raises(ValueError, match=r"shape \(2, 14\); this scene takes \(14,\)"):
        scene.step(np.zeros((2, STATE_DIM)))


@pytest.mark.parametrize(
    ("rewards", "picked"),
    [
        ([0, 2, 2, 2, 2, 2], True),
        ([4, 4, 4, 4, 4, 0], True),
        ([2, 2, 2, 0, 2, 2], False),
        ([1, 3, 1, 3, 1, 3, 1], False),
        ([], False),
    ],
)
def test_a_pick_is_held_for_five_steps_in_a_row(rewards, picked):
    assert is_picked(rewards) is picked


def test_a_recorded_frame_is_what_the_policy_sees_of_the_stock_frame(scene):
    def policy_sees(frame: np.ndarray) -> torch.Tensor:
        image = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
        return resize_with_pad(image, 96, 96, pad_value=0)

    scene.reset(1)
    stock = scene.render()
    recorded = shrink_frame(stock, BOX)
    assert recorded.shape == (*SIZE, 3) == (72, 96, 3)
    torch.testing.assert_close(policy_sees(recorded), policy_sees(stock), rtol=0, atol=0.502 / 255)
    assert recorded[..., 0].max() > 200  # the red cube is in it


@pytest.mark.slow
def test_importing_the_package_needs_no_simulator():
    code = (
        "import sys, reflow.demo, reflow.demo.scene, reflow.demo.demonstrator, reflow.demo.rollout\n"
        "print([name for name in ('mujoco', 'dm_control', 'OpenGL') if name in sys.modules])"
    )
    result = run_python(code)
    assert result.stdout.strip() == "[]", result.stderr


def test_a_machine_without_egl_is_told_what_to_install(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr(gl.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(ValueError, match=r"libegl1 and libgl1-mesa-dri .* MUJOCO_GL=egl"):
        PickScene()


def test_a_machine_without_a_gl_driver_is_told_what_to_install():
    code = "from reflow.demo.scene import PickScene; PickScene().render()"
    result = run_python(code, MUJOCO_GL="egl", __EGL_VENDOR_LIBRARY_DIRS=os.devnull)
    assert result.returncode == 1
    assert "UserError: MuJoCo cannot render with MUJOCO_GL='egl'" in result.stderr
    assert "libgl1-mesa-dri" in result.stderr


@pytest.mark.parametrize(
    ("chosen", "display", "expected"),
    [(None, None, "egl"), (None, ":0", ""), ("osmesa", None, "osmesa"), ("egl", ":0", "egl")],
)
def test_chooses_egl_only_where_nothing_else_is(monkeypatch, chosen, display, expected):
    for name, value in (("MUJOCO_GL", chosen), ("DISPLAY", display)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(gl.ctypes.util, "find_library", lambda name: "libEGL.so.1")
    assert gl.prepare_gl() == expected
    assert os.environ.get("MUJOCO_GL", "") == expected
