"""What an adapter says LeRobot itself does: its training forward caught, its inference before the padding is cut."""

import pytest
import torch
import torch.nn.functional as F

from reflow.flow import straight_path
from tests.builders import make_batch, make_policy


@pytest.mark.parametrize("adapt_to_pi_aloha", [False, True])
def test_stock_calls_agree_with_lerobot_and_with_the_adapter(vlm_folder, adapt_to_pi_aloha):
    flow = make_policy(vlm_folder, adapt_to_pi_aloha=adapt_to_pi_aloha, num_steps=3)
    batch, space = make_batch(flow, 2, with_actions=True), flow.space
    kept = {key: value.clone() for key, value in batch.items()}
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, space.chunk_size, space.max_action_dim, generator=generator)
    t = torch.tensor([0.9, 0.3])

    with torch.no_grad():
        forward = flow.stock_forward(batch, noise, t)
    x_t, v_t = forward.x_t, forward.v_t
    with torch.no_grad():
        context = flow.encode(batch)
        assert torch.equal(flow.velocity(context, x_t[:, None], t[:, None])[:, 0], v_t)
    if not adapt_to_pi_aloha:
        point = straight_path(noise, F.pad(batch["action"], (0, space.padding_dim)), t)
        assert torch.equal(x_t, point.x_t)
        assert torch.equal(forward.loss, flow.policy.forward({**batch, "action_is_pad": None}, noise, t)[0])
        errors = F.mse_loss(v_t, point.u_t, reduction="none")
        assert torch.equal(space.real(errors).mean(), forward.loss)

    endpoint = flow.stock_endpoint(batch, noise)
    assert endpoint.shape == noise.shape
    with torch.no_grad():
        assert torch.equal(endpoint, flow.walk(context, noise[:, None])[:, 0])
    own = {**batch, "observation.state": batch["observation.state"].clone()}
    chunk = flow.policy.predict_action_chunk(own, noise=noise)
    if not adapt_to_pi_aloha:
        assert torch.equal(space.real(endpoint), chunk)
    assert all(torch.equal(batch[key], value) for key, value in kept.items())
    assert not v_t.requires_grad
    assert not endpoint.requires_grad
