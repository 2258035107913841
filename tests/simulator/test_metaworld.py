"""Meta-World is LeRobot's own, frame for frame, rendered only where somebody looks."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.envs.factory import make_env_pre_post_processors
from lerobot.scripts.lerobot_eval import rollout

from reflow.cli import plain
from reflow.errors import NotInstalledError
from reflow.flow import Draws
from reflow.policies import load_policy, load_processors
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.delay import Timing
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.looking import Observation, RendersOnLook, render_on_look
from reflow.simulator.metaworld import Expert, check_runtime, tasks
from reflow.simulator.rollout import Moment, Player
from reflow.simulator.runtime import make_vector_env
from tests.builders import make_teacher_folder
from tests.distill.conftest import composed

pytest.importorskip("metaworld")

ROOT = Path(__file__).parents[2]


def settings(task: str = "drawer-open-v3", **fields) -> EnvironmentSettings:
    return EnvironmentSettings("metaworld", {"task": task, **fields})


def player_and_expert(task: str = "drawer-open-v3", **fields) -> tuple[Player, Expert]:
    player = Player(Conditions(settings(task, **fields)))
    return player, Expert(player.env.envs[0].unwrapped)


@pytest.fixture(scope="module")
def drawer() -> Iterator[tuple[Player, Expert]]:
    player, expert = player_and_expert()
    yield player, expert
    player.close()


def assert_same(one: Observation, other: Observation) -> None:
    for key in ("pixels", "agent_pos"):
        np.testing.assert_array_equal(one[key], other[key], strict=True)


def close_stock(vector) -> None:
    vector.envs[
        0
    ].unwrapped._env.mujoco_renderer.viewer.con.free()  # or it empties others' when it is collected
    vector.close()


@pytest.mark.parametrize("task", ["drawer-open-v3", pytest.param("reach-v3", marks=pytest.mark.slow)])
def test_equals_the_stock_environment_observation_for_observation(task):
    """Stock first, alone in this process: beside another renderer it shows frames that are not its own."""
    stock = make_vector_env(settings(task))
    actions = np.random.default_rng(0).uniform(-1, 1, (8, 1, 4)).astype(np.float32)
    expected = [(stock.reset(seed=[3])[0], ())]
    expected += [(seen, outcome) for seen, *outcome in (stock.step(action) for action in actions)]
    stock.envs[
        0
    ].unwrapped._env.mujoco_renderer.viewer.con.free()  # or it takes others' with it when it is collected
    stock.close()
    quiet = make_vector_env(settings(task))
    look = render_on_look(quiet)
    blind, _ = quiet.reset(seed=[3])
    assert not blind["pixels"].any()
    assert_same(look(), expected[0][0])
    for action, (seen, outcome) in zip(actions, expected[1:], strict=True):
        blind, *mine = quiet.step(action)
        assert not blind["pixels"].any()
        np.testing.assert_array_equal(blind["agent_pos"], seen["agent_pos"], strict=True)
        assert repr(mine) == repr(outcome)  # reward, terminated, truncated, info
        assert_same(look(), seen)
    assert (expected[0][0]["pixels"] != expected[-1][0]["pixels"]).any()  # something moved
    np.testing.assert_array_equal(quiet.call("render")[0], expected[-1][0]["pixels"][0])
    quiet.close()


def test_several_in_one_process_show_their_own_frames(drawer):
    """Of stock environments one draws into the other's frames, or empties them when it is collected."""
    player, _ = drawer
    player.env.reset(seed=[0])
    alone = player._look()
    other = make_vector_env(settings("door-open-v3"))
    look = render_on_look(other)
    other.reset(seed=[0])
    beside = look()
    assert (beside["pixels"] != alone["pixels"]).mean() > 0.1
    assert_same(player._look(), alone)
    assert_same(look(), beside)
    other.close()
    del other, look
    gc.collect()
    assert_same(player._look(), alone)


def test_it_says_how_to_render_on_look(drawer):
    player, _ = drawer
    assert not isinstance(player.env.envs[0].unwrapped, RendersOnLook)
    assert player._look is not None
    assert player.fps == 80


@pytest.mark.parametrize(
    "task", ["drawer-open-v3", "pick-place-v3", pytest.param("push-v3", marks=pytest.mark.slow)]
)
def test_an_episode_depends_on_its_seed_alone(task):
    player, expert = player_and_expert(task)
    starts = []

    def watch(now: Moment) -> None:
        if now.step == 0:
            starts.append(now.observe()["pixels"])

    first, actions = player.follow(expert, 1, watch)
    player.follow(expert, 2, watch)
    again, the_same = player.follow(expert, 1, watch)
    assert first == again
    assert first.success
    np.testing.assert_array_equal(actions, the_same)
    np.testing.assert_array_equal(starts[0], starts[2])
    assert (starts[0] != starts[1]).any()  # another seed is another world
    player.close()


def test_nothing_is_rendered_for_who_does_not_look(drawer):
    player, expert = drawer
    shown = []
    episode, _ = player.follow(expert, 0, lambda now: shown.append(now.blind["pixels"].any()))
    assert episode.success
    assert len(shown) == episode.length
    assert not any(shown)


def test_a_robot_that_waits_for_its_policy_stands_still():
    """No displacement, and the gripper as it was: the hand is led nowhere while the expert thinks."""
    composition = composed("env=metaworld", "env.episode_length=24", config_name="evaluate")
    player = Player(Conditions(EnvironmentSettings.from_mapping(plain(composition.env))))
    bare, led = player.env.envs[0].unwrapped, []
    _, actions = player.follow(
        Expert(bare), 1, lambda now: led.append(bare._env.data.mocap_pos.copy()), Timing(delay=3)
    )
    thinks = np.arange(24) % 4 < 3
    assert not actions[thinks, :3].any()
    assert actions[~thinks, :3].any(axis=1).all()
    np.testing.assert_array_equal(actions[4:, 3][thinks[4:]], np.repeat(actions[~thinks, 3][:-1], 3))
    went = np.array([(later != before).any() for before, later in pairwise(led)])
    np.testing.assert_array_equal(went, ~thinks[:-1])
    player.close()


def test_equals_lerobots_own_rollout(tmp_path):
    """Stock `lerobot-eval`, given the same noise, executes the same actions to the last bit, over several looks."""
    camera = "observation.image"
    folder = make_teacher_folder(
        tmp_path / "policy", action_dim=4, state_dim=4, cameras=(camera,), n_action_steps=3
    )
    short, seed, looks = settings(episode_length=7), 5, count()
    flow = load_policy(folder)
    flow.num_steps = 2

    def sample_noise(shape, device):
        draw = torch.tensor([[next(looks)]])
        return Draws(Conditions(short).noise_seed).noise(torch.tensor([seed]), draw, tuple(shape[1:]))[:, 0]

    flow.policy.model.sample_noise = sample_noise
    vector = make_vector_env(short)
    vector.envs[0].unwrapped._max_episode_steps = 7
    stock = rollout(
        vector,
        flow.policy,
        *make_env_pre_post_processors(short.make_config(), flow.config),
        *load_processors(folder, flow),
        seeds=[seed],
    )
    close_stock(vector)
    player = Player(Conditions(short))
    episode, actions = player.play(Contender("student", folder, 2), seed)
    player.close()
    assert next(looks) == 3
    np.testing.assert_array_equal(actions, stock["action"][0].numpy())
    assert (episode.length, episode.success) == (7, bool(stock["success"].any()))
    assert episode.sum_reward == pytest.approx(stock["reward"].sum().item(), rel=7 * 2.0**-24)


@pytest.mark.slow
def test_what_was_not_closed_is_closed_at_exit():
    """Left to the interpreter, contexts are freed after EGL has ended, with a traceback each."""
    code = (
        "from tests.simulator.test_metaworld import *\n"
        "one, other = make_vector_env(settings()), make_vector_env(settings('reach-v3'))\n"
        "for vector in (one, other):\n"
        "    look = render_on_look(vector); vector.reset(seed=[0]); assert look()['pixels'].any()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


class Idle:
    """Does nothing."""

    name, num_steps, memory = "idle", 0, 0

    def start(self, seed):
        pass

    def act(self, seen, task, left):
        assert (seen, task) == ((), "Open a drawer")
        return [np.zeros(4, np.float32)]


def test_an_episode_ends_where_lerobot_eval_ends_it_or_earlier(drawer):
    player, _ = drawer
    episode, _ = player.follow(Idle(), 0)
    assert (episode.length, episode.success) == (500, False)
    player.follow(Idle(), 0)  # stock would raise where an episode at its limit is not begun anew
    shorter = Player(Conditions(settings(episode_length=7)))
    assert shorter.follow(Idle(), 0)[0].length == 7
    shorter.close()


@pytest.mark.parametrize("length", [0, 501])
def test_a_length_that_the_environment_does_not_have_is_refused(length):
    player = Player(Conditions(settings(episode_length=length)))
    with pytest.raises(
        ValueError, match=rf"env.episode_length={length}; allowed for env.type=metaworld: 1 to 500"
    ):
        player.follow(Idle(), 0)
    player.close()


def test_a_task_that_is_none_is_refused_with_those_there_are():
    assert len(tasks()) == 50
    for task in ("metaworld-push-v2", "easy", "reach-v3,push-v3"):
        with pytest.raises(ValueError, match=rf"env.task={task}; allowed .*'reach-v3'"):
            check_runtime(task)
    check_runtime("metaworld-push-v3")


def test_a_missing_package_is_said_with_its_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotInstalledError, match=r"needs the package metaworld.*'reflow\[metaworld\]'"):
        check_runtime("reach-v3")
