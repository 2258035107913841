"""Chunks that follow one another in a world that goes on: what is given is what is played meanwhile; what jumps."""

from pathlib import Path

import numpy as np
import pytest
import torch

from reflow.demo.pick_env import pick_environment
from reflow.policies.joining import GUIDED, TRAINED
from reflow.simulator import actor
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.journal import Episode, read_episodes
from reflow.simulator.play import load_actions, simulate
from reflow.simulator.rollout import Player
from tests.simulator.test_rollout import make_folder

SEED, STEPS, DELAY = 100_000, 40, 3
CONDITIONS = Conditions(pick_environment(episode_length=STEPS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("policy") / "student", chunk_size=12)


@pytest.fixture(scope="module")
def player() -> Player:
    return Player(CONDITIONS)


def late(folder: Path, rtc: str | None = None) -> Contender:
    return Contender("student", folder, 1, 5, DELAY, rtc)


@pytest.mark.parametrize("rtc", [None, GUIDED, TRAINED])
def test_what_is_left_is_what_is_played_meanwhile(
    folder: Path, player: Player, rtc: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[np.ndarray, int]] = []
    looks: list[int] = []
    ours = actor.next_chunk

    def asking(flow, batch, noise, left, delay, way):
        assert way == rtc
        asked.append((left, delay))
        return ours(flow, batch, noise, left, delay, way)

    monkeypatch.setattr(actor, "next_chunk", asking)
    player.play(late(folder, rtc), SEED, lambda now: looks.append(now.step) if now.length else None)
    episode, actions = player.play(late(folder, rtc), SEED)
    assert looks[:3] == [0, 5, 10]
    policy = player.actor(folder)
    for look, (left, delay) in zip(looks[1:], asked, strict=False):
        assert delay == DELAY
        assert left.shape[1] == 12 - (look - DELAY if look == 5 else 5)  # the robot stood still at first
        told = [policy._command(action) for action in left.transpose(0, 1)[:DELAY]]
        played = actions[look : look + DELAY]
        np.testing.assert_array_equal(np.stack(told)[: len(played)], played)
    # Where a chunk takes over: three steps after each look but the first.
    seams = [look + DELAY for look in looks[1:] if look + DELAY < len(actions)]
    jumps = np.max([np.abs(actions[seam] - actions[seam - 1]) for seam in seams], axis=0)
    np.testing.assert_array_equal(np.float32(episode.jumps), jumps)


def test_each_way_is_another_episode_of_its_own(folder: Path, tmp_path: Path) -> None:
    contenders = [late(folder, way) for way in (None, GUIDED, TRAINED)]
    episodes = simulate(CONDITIONS, contenders, [SEED], folder=tmp_path, processes=0, keep_actions=1)
    assert [episode.rtc for episode in episodes] == [None, GUIDED, TRAINED]
    plain, guided, trained = (actions for _, actions in load_actions(tmp_path, episodes))
    first = slice(0, 5 + DELAY)  # the first chunk, which knows of none
    for other in (guided, trained):
        np.testing.assert_array_equal(other[first], plain[first])
        assert np.abs(other - plain).max() > 1e-6
    assert simulate(CONDITIONS, contenders, [SEED], folder=tmp_path, processes=0) == episodes
    assert read_episodes(tmp_path) == episodes


def test_with_no_second_chunk_nothing_jumps(folder: Path, player: Player) -> None:
    alone, _ = player.play(Contender("student", folder, 1, 12, 30), SEED)
    assert alone.jumps == ()


def test_guidance_leaves_torch_as_it_was(folder: Path, player: Player) -> None:
    player.play(late(folder, GUIDED), SEED)
    assert torch.is_grad_enabled()
    assert player.actor(folder).config.rtc_config is None


def test_an_episode_of_before_has_no_way_and_no_jumps() -> None:
    before = Episode("student", 1, SEED, True, 1.0, 1.0, 7)
    assert (before.rtc, before.jumps) == (None, ())
