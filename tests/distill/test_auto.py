"""``+fix=auto`` measures the teacher, chooses, says why, and trains with what it chose."""

import pytest
from omegaconf import OmegaConf

from reflow.config import padding_name


@pytest.mark.parametrize(
    ("num_steps", "fix", "rule"),
    [
        (1, "[full_noise,keep_target]", "full_noise+keep_target"),
        pytest.param(2, "full32", "full32", marks=pytest.mark.slow),
    ],
)
def test_auto_chooses_for_the_steps_and_says_why(run, tmp_path, capsys, num_steps, fix, rule) -> None:
    overrides = (
        "+fix=auto",
        f"student.num_steps={num_steps}",
        "trainer.max_steps=2",
        "callbacks.straightness=null",
    )
    metrics = run(*overrides)
    assert f"fix=auto chose {fix}: padding" in capsys.readouterr().out
    assert padding_name(OmegaConf.load(tmp_path / "run" / "config.yaml")) == rule
    assert (metrics["train/loss"] != metrics["train/loss_real"]) is (fix == "full32"), (
        "padding is in the loss"
    )
    assert run(*overrides) == metrics, "it is finished"
