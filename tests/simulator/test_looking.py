"""Rendering only when the policy looks changes nothing but the time it takes."""

import gymnasium
import numpy as np
import pytest

from reflow.demo.pick_env import pick_environment
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.looking import RendersOnLook, render_on_look
from reflow.simulator.runtime import make_vector_env


def assert_same(one, other):
    np.testing.assert_array_equal(one["agent_pos"], other["agent_pos"], strict=True)
    np.testing.assert_array_equal(one["pixels"]["top"], other["pixels"]["top"], strict=True)


@pytest.mark.parametrize(
    ("task", "steps"),
    [
        ("AlohaTransferCube-v0", 3),
        pytest.param("AlohaTransferCube-v0", 40, marks=pytest.mark.slow),
        pytest.param("AlohaInsertion-v0", 10, marks=pytest.mark.slow),
    ],
)
def test_equals_the_stock_environment_observation_for_observation(task, steps):
    settings = EnvironmentSettings("aloha", {"task": task})
    stock, quiet = make_vector_env(settings), make_vector_env(settings)
    look = render_on_look(quiet)
    expected, _ = stock.reset(seed=[3])
    blind, _ = quiet.reset(seed=[3])
    assert not blind["pixels"]["top"].any()
    rng = np.random.default_rng(0)
    start = expected["agent_pos"]
    for _ in range(steps):
        assert_same(look(), expected)
        action = (expected["agent_pos"] + rng.normal(0, 0.1, (1, 14))).astype(np.float32)
        expected, *outcome, _ = stock.step(action)
        blind, *mine, _ = quiet.step(action)
        np.testing.assert_array_equal(blind["agent_pos"], expected["agent_pos"])
        assert mine == outcome  # rewards, terminated, truncated
    assert_same(look(), expected)
    assert np.abs(expected["agent_pos"] - start).max() > 0.01  # something moved
    quiet.envs[0].unwrapped._env.task.get_observation.__self__.render_steps = True
    assert quiet.step(action)[0]["pixels"]["top"].any()
    stock.close()
    quiet.close()


def test_the_pick_environment_says_itself_how():
    vector = make_vector_env(pick_environment())
    assert isinstance(vector.envs[0].unwrapped, RendersOnLook)
    expected, _ = vector.reset(seed=[100000])
    look = render_on_look(vector)
    assert not vector.reset(seed=[100000])[0]["pixels"]["top"].any()
    assert_same(look(), expected)
    vector.close()


def test_an_unknown_environment_goes_on_as_before():
    vector = gymnasium.make_vec("CartPole-v1", num_envs=1, vectorization_mode="sync")
    assert render_on_look(vector) is None
    assert render_on_look(object()) is None
    vector.close()


def test_a_machine_without_a_driver_is_told_what_to_install():
    vector = make_vector_env(EnvironmentSettings("aloha", {"task": "AlohaTransferCube-v0"}))
    look = render_on_look(vector)
    vector.reset(seed=[0])

    class NoDriver:
        def render(self, **_):
            raise AttributeError("eglQueryString")

    vector.envs[0].unwrapped._env._physics = NoDriver()
    with pytest.raises(ValueError, match=r"MuJoCo cannot render .*eglQueryString.* libegl1"):
        look()
