"""What would stop the delivery is found before the first step, and nothing that comes after the last one costs it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file
from torch import Tensor

from reflow.distill import deliver
from reflow.distill.module import Distillation
from reflow.errors import UserError
from reflow.policies import load_policy
from reflow.policies.smolvla.flow import SmolVLAFlow
from tests.builders import make_batch

Run = Callable[..., dict[str, float]]


@pytest.fixture
def aloha(teacher_folder: Path, tmp_path: Path) -> Path:
    """The teacher, with LeRobot's conversion to the joints of ALOHA."""
    copy = shutil.copytree(teacher_folder, tmp_path / "aloha" / "pretrained_model")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"adapt_to_pi_aloha": True}))
    return copy


def test_output_is_what_stock_gives_with_the_conversion_to_aloha(aloha: Path) -> None:
    flow = load_policy(aloha)
    batch, noise = make_batch(flow, 2), torch.randn(2, 8, 32)
    before = batch["observation.state"].clone()
    endpoint = flow.walk(flow.encode(batch), noise[:, None])
    kept = endpoint.clone()
    assert torch.equal(flow.output(endpoint)[:, 0], flow.stock_chunk(batch, noise))
    assert not torch.equal(flow.output(endpoint), flow.space.real(endpoint))
    assert torch.equal(flow.output(endpoint[:, 0]), flow.output(endpoint)[:, 0])
    assert torch.equal(endpoint, kept)  # neither is changed in place
    assert torch.equal(batch["observation.state"], before)


@pytest.mark.parametrize("settings", [{"n_action_steps": 2}, {"rtc_config": {"enabled": True}}])
def test_output_is_what_stock_gives_with_other_settings(aloha: Path, settings: dict) -> None:
    config = json.loads((aloha / "config.json").read_text())
    (aloha / "config.json").write_text(json.dumps(config | settings))
    flow = load_policy(aloha)
    batch, noise = make_batch(flow, 2), torch.randn(2, 8, 32)
    ours = flow.output(flow.walk(flow.encode(batch), noise[:, None]))[:, 0]
    assert torch.equal(ours, flow.stock_chunk(batch, noise))


def test_a_teacher_with_the_conversion_to_aloha_is_distilled(run: Run, aloha: Path, tmp_path: Path) -> None:
    run("+fix=full32", f"teacher.path={aloha}", "trainer.max_steps=1")
    assert SmolVLAPolicy.from_pretrained(tmp_path / "run" / "pretrained_model").config.adapt_to_pi_aloha


def test_what_would_stop_the_delivery_stops_the_run_before_the_first_step(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Distillation, "training_step", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(SmolVLAFlow, "output", lambda self, endpoint: self.space.real(endpoint) + 1)
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=r"delivered untrained, as a trial.*differs.*Nothing was trained"):
        run("+fix=full32")
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_place_that_cannot_be_written_is_found_before_the_first_step(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Distillation, "training_step", lambda *_: pytest.fail("trained"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(deliver, "save_policy", full)
    with pytest.raises(UserError, match=r"run_dir=.*run: a student cannot be written there \(No space left"):
        run("+fix=full32")
    assert not (tmp_path / "run").exists()


def test_the_rehearsal_leaves_the_generator_the_teacher_and_the_disk_as_they_were(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    rehearse = deliver.rehearse_delivery

    def watched(*arguments: object) -> None:
        state = torch.get_rng_state()
        before = set(tmp_path.iterdir())
        rehearse(*arguments)
        assert torch.equal(torch.get_rng_state(), state)
        assert set(tmp_path.iterdir()) == before
        seen.append(state)

    monkeypatch.setattr("reflow.train.rehearse_delivery", watched)
    run("+fix=full32", "trainer.max_steps=1")
    assert seen


# the last step has a checkpoint of its own, or not
@pytest.mark.parametrize("every", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_what_fails_after_the_last_step_costs_no_training(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    settings = ("+fix=full32", f"callbacks.checkpoint.every_n_train_steps={every}")
    whole = run(*settings)
    weights = load_file(tmp_path / "run" / "pretrained_model" / "model.safetensors")
    (tmp_path / "run").rename(tmp_path / "whole")

    def fail(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as broken:
        broken.setattr("reflow.train.deliver_student", fail)
        with pytest.raises(OSError, match="Read-only"):
            run(*settings)
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=False)
    assert checkpoint["global_step"] == 6
    monkeypatch.setattr(Distillation, "training_step", lambda *_: pytest.fail("trained again"))
    resumed = run(*settings)
    again = load_file(tmp_path / "run" / "pretrained_model" / "model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert resumed.keys() == whole.keys()
    timed = {name for name in whole if name.startswith("throughput/")}
    assert {name: resumed[name] for name in whole.keys() - timed} == {
        name: whole[name] for name in whole.keys() - timed
    }
