"""Muon and AdamW in the shape of one optimizer: the updates are those of torch's own two, side by side."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from torch import nn

from reflow.distill.muon import MuonWithAdamW, is_hidden
from reflow.distill.optim import OptimizerSettings
from reflow.errors import UserError

POLICY = SmolVLAConfig(device="cpu")


class Network(nn.Module):
    """Something of each kind."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens = nn.Embedding(50, 40)
        self.action_in = nn.Linear(32, 40)
        self.hidden = nn.Linear(40, 48)
        self.wide = nn.Linear(48, 64, bias=False)
        self.out = nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.tanh(self.action_in(x) + self.embed_tokens(torch.arange(len(x))))
        out: torch.Tensor = self.out(torch.tanh(self.wide(torch.tanh(self.hidden(inner)))))
        return out


def step(network: Network, *optimizers: Any, seed: int) -> None:
    x = torch.randn(8, 32, generator=torch.Generator().manual_seed(seed))
    network.zero_grad()
    (network(x) - x.flip(1)).square().mean().backward()
    for optimizer in optimizers:
        optimizer.step()


def built(network: Network, max_steps: int = 10) -> tuple[MuonWithAdamW, Any]:
    settings = OptimizerSettings(lr=1e-2, muon_lr=3e-2, weight_decay=0.1, warmup_steps=2, decay_steps=8)
    entry = settings.build(POLICY, dict(network.named_parameters()), max_steps)
    return entry["optimizer"], entry["lr_scheduler"]["scheduler"]


def test_muon_has_the_matrices_inside_and_adamw_everything_else() -> None:
    network = Network()
    hidden = {name for name, value in network.named_parameters() if is_hidden(name, value, POLICY)}
    assert hidden == {"hidden.weight", "wide.weight"}
    optimizer, _ = built(network)
    muon, adamw = optimizer.param_groups
    assert {id(p) for p in muon["params"]} == {id(network.hidden.weight), id(network.wide.weight)}
    assert len(adamw["params"]) == len(list(network.parameters())) - 2


def test_a_policy_of_wider_actions_has_wider_edges() -> None:
    wide = SmolVLAConfig(device="cpu", max_action_dim=48)
    assert not is_hidden("hidden.weight", torch.zeros(40, 48), wide)
    assert is_hidden("hidden.weight", torch.zeros(49, 64), wide)


def test_its_updates_are_those_of_torchs_own_two_under_one_schedule() -> None:
    network, twin = Network(), Network()
    optimizer, schedule = built(network)
    inside = [twin.hidden.weight, twin.wide.weight]
    muon = torch.optim.Muon(inside, lr=3e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    rest = [p for p in twin.parameters() if all(p is not q for q in inside)]
    adamw = torch.optim.AdamW(
        rest, lr=1e-2, betas=POLICY.optimizer_betas, eps=POLICY.optimizer_eps, weight_decay=0.1, fused=True
    )
    schedules = []
    for its in (muon, adamw):
        preset = POLICY.get_scheduler_preset()
        assert preset is not None
        preset.peak_lr, preset.num_warmup_steps, preset.num_decay_steps = 1e-2, 2, 8
        schedules.append(preset.build(its, 10))
    for seed in range(6):
        step(network, optimizer, seed=seed)
        schedule.step()
        step(twin, muon, adamw, seed=seed)
        for each in schedules:
            each.step()
        theirs = [*muon.param_groups, *adamw.param_groups]
        assert [g["lr"] for g in optimizer.param_groups] == [g["lr"] for g in theirs]
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, twin.get_parameter(name)), name


def test_a_loaded_state_goes_on_where_it_was_saved() -> None:
    whole = Network()
    optimizer, schedule = built(whole)
    for seed in range(3):
        step(whole, optimizer, seed=seed)
        schedule.step()
    again = Network()
    again.load_state_dict(whole.state_dict())
    resumed, resumed_schedule = built(again)
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    resumed_schedule.load_state_dict(schedule.state_dict())
    for seed in range(3, 6):
        for network, one, its in ((whole, optimizer, schedule), (again, resumed, resumed_schedule)):
            step(network, one, seed=seed)
            its.step()
    assert [g["lr"] for g in resumed.param_groups] == [g["lr"] for g in optimizer.param_groups]
    for name, parameter in whole.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name)), name


def test_what_muon_has_nothing_to_do_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UserError, match=r"muon_lr is 0\.01, and 0 of the 1 trained .*hidden matrices; allowed"
    ):
        OptimizerSettings(muon_lr=0.01).build(POLICY, {"weight": nn.Parameter(torch.zeros(2))}, 10)
    with pytest.raises(UserError, match=r"muon_lr is -1; allowed: above 0"):
        OptimizerSettings(muon_lr=-1)
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(UserError, match=r"has no Muon; allowed: torch 2\.9 or newer"):
        built(Network())


def test_a_policy_with_rates_by_layer_keeps_them() -> None:
    from lerobot.policies.xvla.configuration_xvla import XVLAConfig

    with pytest.raises(
        UserError, match=r"xvla has learning rates of its own by layer; allowed with it: null"
    ):
        OptimizerSettings(muon_lr=0.01).build(
            XVLAConfig(device="cpu"), dict(Network().named_parameters()), 10
        )
