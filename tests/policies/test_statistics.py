"""What is read from a folder's files is what LeRobot's own normaliser does."""

from pathlib import Path

import pytest
import torch
from lerobot.configs import FeatureType, NormalizationMode
from lerobot.processor import NormalizerProcessorStep

from reflow.policies import SavedStatistics, load_policy, load_processors, saved_statistics
from reflow.policies.folder import POSTPROCESSOR
from tests.builders import make_statistics, make_teacher_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    statistics = make_statistics(14, 14)
    for feature in statistics.values():
        feature |= {"min": feature["mean"] - 2, "max": feature["mean"] + 3}
        feature |= {"q01": feature["mean"] - 1, "q99": feature["mean"] + 1.5}
        feature |= {"q10": feature["mean"] - 0.5, "q90": feature["mean"] + 0.7}
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model", statistics=statistics)


def test_both_processors_carry_the_same(folder: Path) -> None:
    pre, post = saved_statistics(folder), saved_statistics(folder, POSTPROCESSOR)
    assert pre.modes["ACTION"] == "MEAN_STD"
    assert torch.equal(pre.tensors["action.mean"], post.tensors["action.mean"])


@pytest.mark.parametrize("mode", ["MEAN_STD", "MIN_MAX", "QUANTILES", "QUANTILE10"])
def test_the_line_is_lerobot_s_normalisation(folder: Path, mode: str) -> None:
    pre, _ = load_processors(folder, load_policy(folder))
    step = next(step for step in pre.steps if isinstance(step, NormalizerProcessorStep))
    step.norm_map = {**step.norm_map, FeatureType.ACTION: NormalizationMode(mode)}
    x = torch.randn(5, 14, generator=torch.Generator().manual_seed(0))
    line = SavedStatistics(saved_statistics(folder).tensors, {"ACTION": mode}).line("action", "ACTION")
    assert line is not None
    centre, scale = line
    torch.testing.assert_close(
        ((x.double() - centre) / scale).float(),
        step._apply_transform(x, "action", FeatureType.ACTION),
        rtol=1e-4,
        atol=1e-5,
    )


def test_what_is_not_normalised_has_no_line(folder: Path) -> None:
    tensors = saved_statistics(folder).tensors
    assert SavedStatistics(tensors, {"ACTION": "IDENTITY"}).line("action", "ACTION") is None
    assert SavedStatistics({}, {"ACTION": "MEAN_STD"}).line("action", "ACTION") is None
