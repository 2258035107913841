"""``+fix=auto`` measures the teacher, chooses, says why, and trains with what it chose."""

from omegaconf import OmegaConf

from reflow.settings import padding_name


def test_auto_chooses_and_says_why(run, tmp_path, capsys) -> None:
    metrics = run("+fix=auto", "trainer.max_steps=2", "callbacks.straightness=null")
    said = capsys.readouterr().out
    assert "fix=auto chose full32: padding" in said
    chosen = OmegaConf.load(tmp_path / "run" / "config.yaml")
    assert padding_name(chosen) == "full32"
    assert metrics["train/loss"] != metrics["train/loss_real"], "padding is in the loss"
    assert run("+fix=auto", "trainer.max_steps=2", "callbacks.straightness=null") == metrics, "it is finished"
