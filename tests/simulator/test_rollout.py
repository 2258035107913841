"""Episodes are those of `lerobot-eval`, with noise that is a function of (noise seed, episode seed, look)."""

from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.envs.factory import make_env_pre_post_processors
from lerobot.scripts.lerobot_eval import rollout

from reflow.demo import embedded
from reflow.demo.pick_env import pick_environment
from reflow.demo.scene import PickScene, is_picked
from reflow.flow import Draws
from reflow.policies import load_policy, load_processors
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.rollout import Player
from reflow.simulator.runtime import make_vector_env
from tests.builders import TOP, make_statistics, make_teacher_folder

PICK = pick_environment(episode_length=12)
SEED = 100_000


STATISTICS = make_statistics(14, 14)
STATISTICS["action"] = {"mean": torch.zeros(14), "std": torch.full((14,), 0.1)}  # rad: no robot is broken


def make_folder(path: Path, **changes) -> Path:
    return make_teacher_folder(path, n_action_steps=5, statistics=STATISTICS, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("policy") / "teacher")


@pytest.fixture(scope="module")
def player() -> Player:
    return Player(Conditions(PICK))


def other(player: Player, **changes) -> Player:
    """The same world under other conditions, without making it again."""
    twin = object.__new__(Player)
    twin.__dict__.update(player.__dict__)
    twin.conditions = Conditions(**{"env": PICK, **changes})
    twin._policies = {}
    return twin


def test_equals_lerobots_own_rollout(folder, player):
    """Same noise given, stock `lerobot-eval` executes the same actions, to the last bit."""
    episode, actions = player.play(Contender("student", folder, 2), SEED)
    flow = load_policy(folder)
    flow.num_steps = 2
    looks = count()

    def sample_noise(shape, device):
        draw = torch.tensor([[next(looks)]])
        return Draws(player.conditions.noise_seed).noise(torch.tensor([SEED]), draw, tuple(shape[1:]))[:, 0]

    flow.policy.model.sample_noise = sample_noise
    vector = make_vector_env(PICK)
    stock = rollout(
        vector,
        flow.policy,
        *make_env_pre_post_processors(PICK.make_config(), flow.config),
        *load_processors(folder, flow),
        seeds=[SEED],
    )
    vector.close()
    np.testing.assert_array_equal(actions, stock["action"][0].numpy())
    assert next(looks) == 3  # 12 steps, 5 a look
    assert (episode.length, episode.success) == (12, bool(stock["success"].any()))
    assert episode.sum_reward == stock["reward"].sum().item()
    assert episode.max_reward == stock["reward"].max().item()


@pytest.mark.slow
@pytest.mark.parametrize("num_steps", [10, 1])
def test_a_player_is_as_good_as_the_bare_scene(num_steps):
    """The demo's teacher, without LeRobot's environment around the scene."""
    seeds = [100_000, 100_001, 100_002]
    player = Player(Conditions(pick_environment()))
    contender, scene = Contender("teacher", embedded.TEACHER, num_steps), PickScene()
    for seed in seeds:
        episode, actions = player.play(contender, seed)
        scene.reset(seed)
        rewards = [scene.step(action.astype(np.float64)) for action in actions]
        assert episode.success is is_picked(rewards) is (num_steps == 10)
        assert (episode.length, episode.sum_reward) == (len(rewards), sum(rewards))
    player.close()


def test_an_episode_does_not_depend_on_those_before(folder, player):
    contender = Contender("student", folder, 1)
    first = player.play(contender, 1)
    player.play(contender, 2)
    again = player.play(contender, 1)
    assert first[0] == again[0]
    np.testing.assert_array_equal(first[1], again[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"noise_seed": 8},
        {"env": replace(PICK, instruction="put it down")},
    ],
    ids=["noise_seed", "instruction"],
)
def test_conditions_change_what_is_played(folder, player, changes):
    contender = Contender("student", folder, 1)
    _, actions = player.play(contender, SEED)
    _, changed = other(player, **changes).play(contender, SEED)
    assert np.abs(actions - changed).max() > 1e-4


def test_step_counts_and_seeds_change_what_is_played(folder, player):
    _, actions = player.play(Contender("student", folder, 1), SEED)
    assert np.abs(actions - player.play(Contender("student", folder, 2), SEED)[1]).max() > 1e-4
    assert np.abs(actions - player.play(Contender("student", folder, 1), SEED + 1)[1]).max() > 1e-4
    sooner = player.play(Contender("student", folder, 1, n_action_steps=3), SEED)[1]
    np.testing.assert_array_equal(actions[:3], sooner[:3])
    assert np.abs(actions[3:] - sooner[3:]).max() > 1e-4


def test_the_environments_own_sentence_is_the_default(folder, player):
    contender = Contender("student", folder, 1)
    said = other(player, env=replace(PICK, instruction="pick up the cube"))
    np.testing.assert_array_equal(player.play(contender, SEED)[1], said.play(contender, SEED)[1])


def test_a_renamed_camera_is_the_same_camera(folder, player, tmp_path):
    front = "observation.images.front"
    renamed = make_folder(tmp_path / "renamed", cameras=(front,))
    env = replace(PICK, rename={TOP: front})
    _, actions = other(player, env=env).play(Contender("student", renamed, 1), SEED)
    np.testing.assert_array_equal(actions, player.play(Contender("student", folder, 1), SEED)[1])


def test_a_policy_without_its_camera_is_stopped_at_the_first_look(player, tmp_path):
    folder = make_teacher_folder(tmp_path / "other", cameras=(TOP, "observation.images.wrist"))
    with pytest.raises(ValueError, match=r"the student sees .*wrist.* environment pick shows .*top"):
        player.play(Contender("student", folder, 1), SEED)


def test_a_watcher_sees_every_step_but_the_last(folder, player):
    seen = []
    episode = player.play(
        Contender("student", folder, 1),
        SEED,
        lambda now: seen.append((now.step, now.length, now.frame().shape, now.action)),
    )
    assert [step for step, *_ in seen] == list(range(12))
    assert [length for _, length, *_ in seen] == [5, 0, 0, 0, 0, 5, 0, 0, 0, 0, 5, 0]
    assert {shape for _, _, shape, _ in seen} == {(480, 640, 3)}
    np.testing.assert_array_equal(np.stack([action for *_, action in seen]), episode[1])


def test_a_chunk_may_have_steps_of_its_own(folder, player):
    steps = iter([2, 1, 2])
    contender = Contender("student", folder, 1)
    _, two = player.play(Contender("student", folder, 2), SEED)
    _, mixed = player.play(contender, SEED, num_steps=lambda: next(steps))
    np.testing.assert_array_equal(mixed[:5], two[:5])
    assert np.abs(mixed[5:10] - two[5:10]).max() > 1e-4


def test_a_policy_that_breaks_the_robot_has_failed_and_the_next_one_plays_on(folder, player, tmp_path):
    contender = Contender("student", folder, 1)
    before = player.play(contender, SEED)[0]
    strong = {**STATISTICS, "action": {"mean": torch.zeros(14), "std": torch.full((14,), 1e4)}}
    wild = make_teacher_folder(tmp_path / "wild", statistics=strong)
    episode, actions = player.play(Contender("wild", wild, 1), SEED)
    assert not episode.success
    assert episode.length == len(actions) < 12
    assert player.play(contender, SEED)[0] == before


def test_an_environment_that_renders_at_every_step_plays_too(tmp_path):
    pytest.importorskip("gym_pusht")
    folder = make_teacher_folder(
        tmp_path / "pusht", action_dim=2, state_dim=2, cameras=("observation.image",)
    )
    player = Player(Conditions(EnvironmentSettings("pusht", {"episode_length": 10})))
    assert player._look is None
    episode, actions = player.play(Contender("student", folder, 1), 3)
    assert (episode.length, actions.shape) == (10, (10, 2))
    assert player.play(Contender("student", folder, 1), 3)[0] == episode
    player.close()
