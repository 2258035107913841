"""What is played while a policy thinks: old, then new from where the old one ended, as LeRobot's client has it."""

import importlib
import json
from collections import deque
from itertools import count
from pathlib import Path
from queue import Queue
from threading import Lock
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.utils.constants import ACTION
from omegaconf import OmegaConf

from reflow.config_path import CONFIG_DIR
from reflow.demo import embedded
from reflow.demo.pick_env import pick_environment
from reflow.errors import UserError
from reflow.simulator.actor import Conditions, Contender, PolicyActor
from reflow.simulator.delay import HOLD, Timing, check_idle, control_steps, idle_command
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.journal import EPISODES
from reflow.simulator.play import load_actions, simulate
from reflow.simulator.rollout import Player
from reflow.simulator.video import record

SEED, STEPS = 100_000, 60
PICK = pick_environment(episode_length=STEPS)
CHUNK = 50  # of the embedded teacher


@pytest.fixture(scope="module")
def player() -> Player:
    return Player(Conditions(PICK))


def teacher(**changes) -> Contender:
    return Contender("teacher", embedded.TEACHER, 1, **changes)


def watched(player: Player, contender: Contender, monkeypatch: pytest.MonkeyPatch, seed: int = SEED):
    """One episode: its actions, what every look gave, at which steps looks were, and how often was rendered."""
    chunks, looks, rendered = [], [], count()
    act, look = PolicyActor.act, player._look

    def acting(self, seen, task, left):
        chunks.append(np.stack(act(self, seen, task, left)))
        return list(chunks[-1])

    monkeypatch.setattr(PolicyActor, "act", acting)
    monkeypatch.setattr(player, "_look", lambda: (next(rendered), look())[1])
    _, actions = player.play(contender, seed, lambda now: looks.append(now.step) if now.length else None)
    monkeypatch.undo()
    return actions, chunks, looks, next(rendered)


def test_without_a_delay_every_chunk_is_played_whole_at_once(player, monkeypatch):
    actions, chunks, looks, rendered = watched(player, teacher(n_action_steps=20), monkeypatch)
    assert looks == [0, 20, 40]
    assert rendered == 3
    np.testing.assert_array_equal(actions, np.concatenate(chunks))
    own = player.play(teacher(), SEED)[1]
    np.testing.assert_array_equal(own[:20], actions[:20])


def test_old_actions_then_new_ones_from_where_the_old_ended(player, monkeypatch):
    """Five steps late, of twenty: looks at 20 and 40, whose chunks begin at 25 and 45 with their sixth action."""
    actions, chunks, looks, rendered = watched(player, teacher(n_action_steps=20, delay=5), monkeypatch)
    assert looks == [0, 20, 40]
    assert rendered == 3
    first, second, third = chunks
    state = player.env.reset(seed=[SEED])[0]["agent_pos"][0].astype(np.float32)
    np.testing.assert_array_equal(actions[:5], np.stack([state] * 5))  # the robot stands where it stood
    np.testing.assert_array_equal(actions[5:25], first[:20])
    np.testing.assert_array_equal(actions[25:45], second[5:25])
    np.testing.assert_array_equal(actions[45:60], third[5:20])


def test_a_policy_slower_than_its_actions_looks_as_soon_as_it_has_answered(player, monkeypatch):
    actions, chunks, looks, _ = watched(player, teacher(n_action_steps=4, delay=15), monkeypatch)
    assert looks == [0, 15, 30, 45]
    np.testing.assert_array_equal(actions[15:30], chunks[0][:15])
    np.testing.assert_array_equal(actions[30:45], chunks[1][15:30])
    np.testing.assert_array_equal(actions[45:], chunks[2][15:30])


def test_an_old_chunk_that_ends_too_early_is_held_and_nothing_is_lost(player, monkeypatch):
    """Of the new chunk only what was played meanwhile is stale: three actions, although five steps have gone by."""
    commands, ahead = Timing(n_action_steps=8, delay=5).go_on([0, 1, 2], list(range(10, 18)))
    assert commands == [0, 1, 2, None, None, 13, 14, 15, 16, 17]
    assert ahead == 5
    actions, chunks, looks, _ = watched(player, teacher(delay=40), monkeypatch)
    assert looks == [0, 50]  # ten of the first chunk are played, forty are left for the time of thinking
    np.testing.assert_array_equal(actions[40:], chunks[0][:20])


def test_one_that_thinks_as_long_as_its_chunk_lasts_stands_still_between_its_chunks(monkeypatch):
    player = Player(Conditions(pick_environment(episode_length=2 * CHUNK + 12)))
    late = teacher(n_action_steps=6, delay=CHUNK)
    actions, chunks, looks, _ = watched(player, late, monkeypatch)
    player.close()
    assert looks == [0, CHUNK + 6]
    np.testing.assert_array_equal(actions[CHUNK : CHUNK + 6], chunks[0][:6])
    np.testing.assert_array_equal(actions[CHUNK + 6 : 2 * CHUNK + 6], np.stack([chunks[0][5]] * CHUNK))
    np.testing.assert_array_equal(actions[2 * CHUNK + 6 :], chunks[1][:6])


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """LeRobot's client, without a robot: its queue, empty, and no command given yet."""
    monkeypatch.chdir(tmp_path)  # where it is imported, it makes a folder for its log
    client_module = importlib.import_module("lerobot.async_inference.robot_client")
    client = object.__new__(client_module.RobotClient)
    client.action_queue, client.action_queue_lock = Queue(), Lock()
    client.latest_action, client.latest_action_lock = -1, Lock()
    return client


CASES = [
    (length, n, delay)
    for length in (1, 7, 16)
    for n in (1, 3, 7, None)
    for delay in (0, 1, 2, 5, 6, 9, 15)
    # Thinking longer than its chunk lasts while it plays on, the client would throw every second chunk away.
    if n is None or n == length or (n < length and delay < length)
]


@pytest.mark.parametrize(("length", "n_action_steps", "delay"), CASES)
def test_commands_are_those_of_lerobot_s_asynchronous_client(client, length, n_action_steps, delay):
    """Its own queue, given the same looks: commands are numbered, and what was played meanwhile is thrown away."""
    timed_action = importlib.import_module("lerobot.async_inference.helpers").TimedAction
    timing, ahead, queue = Timing(n_action_steps, delay), 0, deque()
    thinking: list[tuple[int, list[Any]]] = []
    for step in range(100):
        if not ahead:
            new = [1000 * step + i for i in range(length)]
            commands, ahead = timing.go_on(tuple(queue), new)
            assert ahead >= 1
            queue = deque(commands)
            timed = [
                timed_action(timestamp=0.0, timestep=client.latest_action + 1 + i, action=torch.tensor(value))
                for i, value in enumerate(new)
            ]
            thinking.append((step + delay, timed))
        while thinking and thinking[0][0] == step:
            client._aggregate_action_queues(thinking.pop(0)[1])  # by default, the latest
        ahead -= 1
        ours, theirs = queue.popleft(), None
        if client.actions_available():
            given = client.action_queue.get_nowait()
            client.latest_action = given.get_timestep()
            theirs = int(given.get_action())
        assert ours == theirs, step


def test_a_chunk_is_computed_no_further_than_it_can_be_played():
    for n_action_steps, delay in ((20, 5), (4, 15), (6, CHUNK), (3, 0)):
        reach = Timing(n_action_steps, delay).reach
        whole = list(range(CHUNK))
        for old in ([], [7] * 4, [7] * 30):
            plain, ahead = Timing(n_action_steps, delay).go_on(old, whole)
            cut, same = Timing(n_action_steps, delay).go_on(old, whole[:reach])
            assert (ahead, plain[: ahead + delay]) == (same, cut[: ahead + delay])


def test_a_latency_is_rounded_up_to_whole_control_steps():
    asked = (0, 0.1, 10, 20, 20.1, 30, 100, 300, 1000)
    assert [control_steps(ms, 50) for ms in asked] == [0, 1, 1, 1, 2, 2, 5, 15, 50]


def test_standing_still():
    last, state = np.array([1, 2, 3], np.float32), np.array([4, 5, 6], np.float64)
    np.testing.assert_array_equal(idle_command("hold", None, state, 3), state)
    np.testing.assert_array_equal(idle_command("hold", last, state, 3), last)
    np.testing.assert_array_equal(idle_command([0, 0.5, "hold"], last, None, 3), [0, 0.5, 3])
    np.testing.assert_array_equal(idle_command([0, 0.5, "hold"], None, state, 3), [0, 0.5, 0])
    with pytest.raises(UserError, match=r"env\.idle=hold: actions have 4 dimensions, .* shows 3 numbers"):
        idle_command("hold", None, state, 4)
    with pytest.raises(UserError, match=r"env\.idle=hold: .* shows no state of its own"):
        idle_command("hold", None, None, 4)
    with pytest.raises(UserError, match=r"env\.idle has 2 entries, actions have 4 dimensions"):
        idle_command([0, 0], last, None, 4)


@pytest.mark.parametrize("idle", [None, "zero", "", [], [0, "stay"], 0])
def test_what_says_not_how_to_stand_still(idle):
    with pytest.raises(UserError, match=r"env\.idle=.*stand still: hold where actions are absolute"):
        check_idle(idle)


@pytest.mark.parametrize("path", sorted(Path(CONFIG_DIR, "env").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_environment_of_ours_says_how_to_stand_still(path: Path) -> None:
    settings = EnvironmentSettings.from_mapping(OmegaConf.to_container(OmegaConf.load(path)))
    check_idle(settings.idle)
    if settings.idle != HOLD:
        assert (len(settings.idle),) == settings.make_config().features[ACTION].shape


def test_how_to_stand_still_comes_from_the_environment_s_keys(player):
    keys = {"type": "pick", "discover_packages_path": "reflow.demo.pick_env", "episode_length": STEPS}
    settings = EnvironmentSettings.from_mapping({**keys, "idle": [0] * 14})
    twin = object.__new__(Player)
    twin.__dict__.update(player.__dict__)
    twin.conditions, twin._policies = Conditions(settings), {}
    _, actions = twin.play(teacher(delay=3), SEED)
    assert not actions[:3].any()
    assert actions[3:].any()
    assert settings.identity() == PICK.identity()  # the same world: an old journal goes on


def test_episodes_with_and_without_delay_lie_side_by_side_and_are_resumed(player, tmp_path: Path):
    contenders = [teacher(), teacher(delay=5), teacher(n_action_steps=20, delay=5)]
    arguments = {"folder": tmp_path, "processes": 0, "keep_actions": 1}
    conditions = Conditions(PICK)
    before = simulate(conditions, contenders[:1], [SEED], **arguments)
    told = []
    played = simulate(conditions, contenders, [SEED], progress=lambda *n: told.append(n), **arguments)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert played[:1] == before
    assert [(one.n_action_steps, one.delay) for one in played] == [(None, 0), (None, 5), (20, 5)]
    lines = [json.loads(line) for line in (tmp_path / EPISODES).read_text().splitlines()]
    assert [line["delay"] for line in lines] == [0, 5, 5]
    told.clear()
    assert simulate(conditions, contenders, [SEED], progress=lambda *n: told.append(n), **arguments) == played
    assert told == [(3, 3)]
    kept = [actions for _, actions in load_actions(tmp_path, played)]
    for contender, actions in zip(contenders, kept, strict=True):
        np.testing.assert_array_equal(actions, player.play(contender, SEED)[1])
    assert np.abs(kept[0] - kept[1]).max() > 1e-3


def test_a_video_shows_who_is_late(player):
    recording = record(player, teacher(n_action_steps=20, delay=5), SEED)
    assert recording.label == "teacher, 1 step, 20 actions, 5 late"
    assert len(recording.frames) == STEPS // 2
    assert (recording.frames[0] != recording.frames[-1]).any()
