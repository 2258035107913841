"""A small run of the teacher's training: from a data set to a policy folder that stock LeRobot loads."""

import json
from pathlib import Path

import pytest
import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file

from reflow.cli import composed
from reflow.demo.flow_matching import FlowMatching
from reflow.demo.train_teacher import train
from tests.builders import make_dataset, make_teacher_folder, repo_id


def test_a_teacher_is_trained_saved_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_dataset(tmp_path / "set", episodes=3, frames=12)

    def config(max_steps: int, run_dir: str):
        return composed(
                "train_teacher",
                *[
                    f"data.root={data}", f"data.repo_id={repo_id(data)}", "data.batch_size=4",
                    f"run_dir={tmp_path / run_dir}", f"max_steps={max_steps}", "save_every=2", "warmup_steps=1",
                    "draws=2", "policy.chunk_size=6", "policy.n_action_steps=6", "policy.num_vlm_layers=2",
                    "policy.resize_imgs_with_padding=[32,32]", "vlm.image=32", "vlm.patch=8", "vlm.text_width=32",
                    "vlm.vision_width=32", "vlm.vision_layers=1", "vlm.text_layers=2", "vlm.heads=2",
                ],
            )  # fmt: skip

    folder = train(config(4, "run"))
    policy = SmolVLAPolicy.from_pretrained(folder)
    assert policy.config.chunk_size == 6
    assert policy.config.optimizer_lr == 1e-3
    weights = load_file(folder / "model.safetensors")
    assert all(torch.isfinite(value).all() for value in weights.values())
    assert json.loads((folder / "policy_preprocessor.json").read_text())["steps"]

    train(config(4, "run"))  # nothing left to do
    assert all(
        torch.equal(value, weights[name]) for name, value in load_file(folder / "model.safetensors").items()
    )

    step, calls = FlowMatching.training_step, []

    def crash_at_step_4(self: FlowMatching, batch: dict, batch_idx: int) -> torch.Tensor:
        calls.append(self.global_step)
        if len(calls) == 4:
            raise KeyError("pulled the plug")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(FlowMatching, "training_step", crash_at_step_4)
    with pytest.raises(KeyError, match="pulled the plug"):
        train(config(4, "stopped"))
    resumed = load_file(train(config(4, "stopped")) / "model.safetensors")
    assert calls == [0, 1, 2, 3, 2, 3]
    assert all(torch.equal(value, weights[name]) for name, value in resumed.items())


def test_a_teacher_goes_on_from_another(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "set", episodes=3, frames=12)
    start = make_teacher_folder(tmp_path / "start" / "pretrained_model")
    config = composed(
            "train_teacher",
            *[
                f"data.root={data}", f"data.repo_id={repo_id(data)}", "data.batch_size=4", f"start={start}",
                f"run_dir={tmp_path / 'run'}", "max_steps=2", "warmup_steps=1", "draws=2", "loss_dims=full",
            ],
        )  # fmt: skip
    before, after = (load_file(folder / "model.safetensors") for folder in (start, train(config)))
    assert before.keys() == after.keys()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert any("vision_model" in name for name in moved), "the whole policy is trained"
    processor = "policy_postprocessor.json"
    assert (start / processor).read_text() == (tmp_path / "run" / "pretrained_model" / processor).read_text()
