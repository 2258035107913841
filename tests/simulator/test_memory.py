"""A policy with a memory is shown what LeRobot's own queues would hold, and no other frame is rendered."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.factory import make_env_pre_post_processors
from lerobot.scripts.lerobot_eval import rollout

from reflow.demo.pick_env import pick_environment
from reflow.demo.scene import FRAME_HEIGHT, FRAME_WIDTH
from reflow.errors import UserError
from reflow.flow import Draws
from reflow.policies import load_policy, load_processors, save_policy
from reflow.policies.processors import save_new_processors
from reflow.simulator.actor import Conditions, Contender, PolicyActor
from reflow.simulator.recorder import Recorder, Watching
from reflow.simulator.rollout import Player
from reflow.simulator.runtime import make_vector_env
from tests.builders import TOP, quiet
from tests.contract.builders.multi_task_dit import make_clip_folder, make_dit

STATE = "observation.state"
PICK = pick_environment(episode_length=12)
SEED = 100_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("dit")
    camera = {TOP: PolicyFeature(FeatureType.VISUAL, (3, FRAME_HEIGHT, FRAME_WIDTH))}
    state = {STATE: PolicyFeature(FeatureType.STATE, (14,))}
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = make_dit(
            make_clip_folder(scratch / "clip"),
            input_features=state | camera,
            n_obs_steps=3,
            n_action_steps=5,
            num_integration_steps=2,
            image_resize_shape=(24, 32),
        )
    ranges = {"min": torch.full((14,), -0.1), "max": torch.full((14,), 0.1)}  # rad: no robot is broken
    pixels = {"mean": torch.full((3, 1, 1), 0.5), "std": torch.full((3, 1, 1), 0.3)}
    save_new_processors(flow, {STATE: ranges, "action": ranges, TOP: pixels}, scratch / "processors")
    return save_policy(flow, scratch / "processors", scratch / "pretrained_model")


def test_an_actor_is_given_what_lerobot_s_queues_hold(folder, monkeypatch):
    player, seen = Player(Conditions(PICK)), []
    rendered, look = count(), player._look
    player._look = lambda: (next(rendered), look())[1]
    stock_chunk = "reflow.policies.multi_task_dit.MultiTaskDiTFlow.stock_chunk"
    flow = load_policy(folder)
    original = type(flow).stock_chunk

    def watched(self, batch, noise):
        seen.append((batch[STATE], batch[TOP]))
        return original(self, batch, noise)

    monkeypatch.setattr(stock_chunk, watched)
    _, actions = player.play(Contender("student", folder, 2), SEED)
    player.close()
    assert next(rendered) == 1 + 3 + 3  # at steps 0, 3 to 5, 8 to 10

    flow.num_steps = 2
    remembered, predict, looks = [], flow.policy.predict_action_chunk, count()

    def predicting(batch):
        queues = flow.policy._queues
        images = torch.stack(list(queues["observation.images"]), 1)
        remembered.append((torch.stack(list(queues[STATE]), 1), images[:, :, 0]))
        return predict(batch)

    def sample(model, size, context):
        draws = Draws(Conditions(PICK).noise_seed)
        noise = draws.noise(torch.tensor([SEED]), torch.tensor([[next(looks)]]), (8, 14))
        return flow.walk(context, noise)[:, 0]

    flow.policy.predict_action_chunk = predicting
    flow.policy.objective.conditional_sample = sample
    vector = make_vector_env(PICK)
    stock = rollout(
        vector,
        flow.policy,
        *make_env_pre_post_processors(PICK.make_config(), flow.config),
        *load_processors(folder, flow),
        seeds=[SEED],
    )
    vector.close()
    assert len(seen) == len(remembered) == 3
    for ours, theirs in zip(seen, remembered, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert not torch.equal(seen[1][0][:, 0], seen[1][0][:, 1])  # it has moved
    np.testing.assert_array_equal(actions, stock["action"][0].numpy())


def test_a_memory_is_of_the_steps_before_a_look_whatever_is_played_meanwhile(folder, monkeypatch):
    """Two steps late, chunks of five: looks at 0, 5 and, three of each being fresh, 8 and 11."""
    player, remembered, states, rendered = Player(Conditions(PICK)), [], [], count()
    act, look = PolicyActor.act, player._look
    player._look = lambda: (next(rendered), look())[1]

    def acting(self, seen, task, left):
        remembered.append([one["agent_pos"][0] for one in seen])
        return act(self, seen, task, left)

    monkeypatch.setattr(PolicyActor, "act", acting)
    contender = Contender("student", folder, 2, delay=2)
    player.play(contender, SEED, lambda now: states.append(now.blind["agent_pos"][0].copy()))
    player.close()
    assert next(rendered) == 1 + 3 + 3 + 3
    for step, seen in zip((0, 5, 8, 11), remembered, strict=True):
        np.testing.assert_array_equal(seen, [states[max(0, step - ago)] for ago in (2, 1, 0)])


def test_rollouts_of_a_policy_with_a_memory_are_refused(folder):
    with pytest.raises(UserError, match=r"acts on the last 3 observations; rollouts keep single ones"):
        Recorder(Conditions(PICK), folder, Watching())
