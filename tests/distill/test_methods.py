"""Every method of ``conf/method`` through the training command: what comes out is stock LeRobot's, and it goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file

from reflow.config_path import CONFIG_DIR
from reflow.distill.module import Distillation
from tests.distill.conftest import composed

METHODS = sorted(path.stem for path in Path(CONFIG_DIR, "method").glob("*.yaml"))
Run = Callable[..., dict[str, float]]


class Stopped(Exception):
    """What a power cut looks like from within."""


@pytest.mark.parametrize(
    "method",
    [name if name == "shortcut" else pytest.param(name, marks=pytest.mark.slow) for name in METHODS],
)
def test_it_trains_and_hands_over_an_ordinary_student(
    run: Run, teacher_folder: Path, tmp_path: Path, method: str
) -> None:
    draws = "objective.draws=4" if method == "drifting" else "objective.draws=2"
    metrics = run(f"+method={method}", "+fix=full32", draws)
    assert metrics["train/loss"] > 0
    assert ("deploy/gap" in metrics) == (method in ("endpoint", "reflow"))
    folder = tmp_path / "run" / "pretrained_model"
    student = SmolVLAPolicy.from_pretrained(folder)
    assert student.config.num_steps == (2 if method == "mip" else 1)
    teacher, trained = (load_file(place / "model.safetensors") for place in (teacher_folder, folder))
    assert teacher.keys() == trained.keys()  # stock LeRobot's, and no more
    assert any(not torch.equal(teacher[name], trained[name]) for name in teacher)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["shortcut", "consistency"])
def test_stopped_half_way_it_ends_where_it_would_have(run: Run, tmp_path: Path, method: str) -> None:
    """The average and the second time are part of what is kept."""
    whole = run(f"+method={method}", "+fix=full32")
    weights = load_file(tmp_path / "run" / "pretrained_model" / "model.safetensors")
    (tmp_path / "run").rename(tmp_path / "whole")

    step = Distillation.training_step

    def stopping(self: Distillation, batch: dict[str, Any], batch_idx: int) -> object:
        if self.global_step == 4:
            raise Stopped
        return step(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Distillation, "training_step", stopping)
        with pytest.raises(Stopped):
            run(f"+method={method}", "+fix=full32")
    assert not (tmp_path / "run" / "pretrained_model").exists()
    again = run(f"+method={method}", "+fix=full32")
    ours = load_file(tmp_path / "run" / "pretrained_model" / "model.safetensors")
    assert all(torch.equal(ours[name], weights[name]) for name in weights)
    same = [name for name in whole if not name.startswith("throughput/")]
    assert {name: again[name] for name in same if "train/" not in name} == {
        name: whole[name] for name in same if "train/" not in name
    }


@pytest.mark.parametrize("method", METHODS)
def test_the_experiment_takes_it(method: str) -> None:
    config = composed("+experiment=objectives", f"+method={method}")
    assert (config.pairs.path is None) == (
        method in ("flow_matching", "flow_matching_noise", "snapflow", "mip")
    )
    assert config.objective.draw_pool == (None if config.pairs.path is None else 4)
    pairs = config.data.batch_size * config.objective.draws
    assert pairs == 64  # of noise and action, a step, for each
    assert (config.trainer.max_steps, config.pairs.seed) == (400, 0)
