"""A chunk after the one before: LeRobot's guidance and given actions, each through LeRobot's own class."""

from pathlib import Path

import pytest
import torch
from lerobot.policies.rtc import RTCConfig

from reflow.errors import UserError
from reflow.policies import FlowPolicy, check_way, load_policy, next_chunk
from reflow.policies.joining import GUIDED, TRAINED, given_noise
from tests.builders import make_batch, make_teacher_folder, quiet
from tests.contract.builders.multi_task_dit import make_clip_folder, make_dit

CHUNK, DELAY = 24, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(
        tmp_path_factory.mktemp("one") / "pretrained_model",
        num_steps=1,
        chunk_size=CHUNK,
        n_action_steps=CHUNK,
    )


@pytest.fixture(scope="module")
def flow(folder: Path) -> FlowPolicy:
    return load_policy(folder)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_without_a_way_or_anything_left_a_chunk_knows_nothing_of_the_one_before(flow: FlowPolicy) -> None:
    batch, noise, left = make_batch(flow), numbers(2, CHUNK, 32), numbers(2, 10, 14, seed=1)
    with torch.no_grad():
        plain = flow.stock_chunk(batch, noise)
        assert torch.equal(next_chunk(flow, batch, noise, left, DELAY, None), plain)
        for way in (GUIDED, TRAINED):
            assert torch.equal(next_chunk(flow, batch, noise, left[:, :0], 0, way), plain)
        assert not torch.equal(next_chunk(flow, batch, noise, left, DELAY, TRAINED), plain)


def test_given_actions_go_in_through_the_noise_of_lerobot_s_own_class(flow: FlowPolicy) -> None:
    """What a robot's own loop has to do, written out: docs/runtimes.md shows the same lines."""
    batch, noise, left = make_batch(flow), numbers(2, CHUNK, 32), numbers(2, 10, 14, seed=1)
    by_hand = noise.clone()
    by_hand[:, :DELAY] = 0
    by_hand[:, :DELAY, :14] = left[:, :DELAY]
    with torch.no_grad():
        ours = next_chunk(flow, batch, noise, left, DELAY, TRAINED)
        assert torch.equal(ours, flow.policy.predict_action_chunk(dict(batch), noise=by_hand))


def test_no_more_is_given_than_is_left_or_the_chunk_holds(flow: FlowPolicy) -> None:
    noise = numbers(1, CHUNK, 32)
    few = given_noise(flow, noise, numbers(1, 2, 14), DELAY)
    assert torch.equal(few[:, 2:], noise[:, 2:])
    many = given_noise(flow, noise, numbers(1, CHUNK + 5, 14), CHUNK + 5)
    assert not many[..., 14:].any()


def test_what_lerobot_converts_for_aloha_is_given_as_the_flow_has_it(tmp_path: Path) -> None:
    folder = make_teacher_folder(tmp_path / "aloha", chunk_size=CHUNK, adapt_to_pi_aloha=True)
    flow = load_policy(folder)
    flow_space = 0.1 * numbers(1, CHUNK, 32)
    given = given_noise(flow, numbers(1, CHUNK, 32), flow.output(flow_space), CHUNK)
    torch.testing.assert_close(given[..., :14], flow_space[..., :14], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("num_steps", "delay"), [(1, 4), (1, 11), (1, 15), (2, 4), (12, 4)])
def test_guidance_is_lerobot_s_at_the_weight_and_horizon_that_fit(
    folder: Path, num_steps: int, delay: int
) -> None:
    """The runtime's own call, on a policy that was loaded for it; afterwards ours is unguided again."""
    guided, flow = load_policy(folder), load_policy(folder)
    guided.num_steps = flow.num_steps = num_steps
    horizon = min(max(10, 2 * delay), CHUNK)
    guided.policy.config.rtc_config = RTCConfig(
        max_guidance_weight=min(num_steps, 10), execution_horizon=horizon
    )
    guided.policy.init_rtc_processor()
    batch, noise, left = make_batch(flow), numbers(2, CHUNK, 32), numbers(2, CHUNK, 14, seed=1)
    with torch.no_grad():
        plain = flow.stock_chunk(batch, noise)
        theirs = guided.policy.predict_action_chunk(
            dict(batch), noise=noise.clone(), inference_delay=delay, prev_chunk_left_over=left[:, :horizon]
        )
        ours = next_chunk(flow, batch, noise, left, delay, GUIDED)
        assert torch.equal(ours, theirs)
        assert torch.equal(flow.stock_chunk(batch, noise), plain)
        flow.policy.select_action(batch)  # which a guided policy refuses
    moved = (ours - plain).abs().amax((0, 2))
    assert moved[delay] > 0  # the first action that is played of it
    if num_steps == 1:  # and what is played before is what was left, the weight of one step being right
        torch.testing.assert_close(ours[:, :delay], left[:, :delay], rtol=1e-4, atol=1e-5)
        assert not moved[horizon:].any()


def test_what_is_left_short_of_the_horizon_is_filled_up_as_the_runtime_does(flow: FlowPolicy) -> None:
    batch, noise, left = make_batch(flow), numbers(2, CHUNK, 32), numbers(2, 6, 14, seed=1)
    filled = torch.cat([left, torch.zeros(2, 4, 14)], 1)
    with torch.no_grad():
        one, other = (next_chunk(flow, batch, noise, rest, DELAY, GUIDED) for rest in (left, filled))
    assert torch.equal(one, other)


def test_ways_that_a_policy_has_not_are_refused(flow: FlowPolicy, tmp_path: Path) -> None:
    for way in (None, GUIDED, TRAINED):
        check_way(flow, way)
    full = load_policy(make_teacher_folder(tmp_path / "full", action_dim=32))
    check_way(full, GUIDED)
    with pytest.raises(UserError, match="rtc=trained: given actions are told from noise by their padding"):
        check_way(full, TRAINED)
    with quiet():
        transformer = make_dit(make_clip_folder(tmp_path / "clip"))
    for way, why in (
        (GUIDED, "LeRobot has no real-time chunking by guidance"),
        (TRAINED, "by their padding"),
    ):
        with pytest.raises(UserError, match=rf"rtc={way}: .*{why}.* of type multi_task_dit"):
            check_way(transformer, way)
