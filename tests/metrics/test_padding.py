"""Padding statistics and re-padding: the founding report's figures, and a space without padding."""

import pytest
import torch

from reflow.flow import ActionSpace
from reflow.metrics import PaddingStatistics, RepaddingDifference

REPORT = ActionSpace(14, 32, chunk_size=50)


def test_the_two_agree_as_in_the_founding_report() -> None:
    # It has mean abs 0.007547 on 18 of 32 dimensions and 0.004245 over all; one maximum for both.
    endpoint = torch.randn(6, 50, 32, generator=torch.Generator().manual_seed(0))
    statistics, difference = PaddingStatistics(REPORT), RepaddingDifference(REPORT)
    statistics.update(endpoint)
    difference.update(endpoint)
    padding, repadding = statistics.compute(), difference.compute()
    torch.testing.assert_close(repadding["mean"], padding["padding/abs_mean"] * 18 / 32)
    assert repadding["max"] == padding["padding/abs_max"]
    report = 0.007547 * 18 / 32
    assert report == pytest.approx(0.004245, abs=5e-7)


def test_without_padding_there_is_nothing_to_say_of_it() -> None:
    space = ActionSpace(3, 3, chunk_size=2)
    statistics, difference = PaddingStatistics(space), RepaddingDifference(space)
    for metric in (statistics, difference):
        metric.update(torch.ones(4, 2, 3))
    assert list(statistics.compute()) == ["real/mean", "real/std", "real/abs_mean", "real/abs_max"]
    assert {name: x.item() for name, x in difference.compute().items()} == {"max": 0.0, "mean": 0.0}


def test_a_constant_has_no_spread() -> None:
    statistics = PaddingStatistics(ActionSpace(1, 2, chunk_size=3))
    for tenths in range(1, 100):  # some round to a variance just below zero
        statistics.reset()
        statistics.update(torch.full((7, 3, 2), tenths / 10, dtype=torch.float64))
        assert statistics.compute()["padding/std"].item() == pytest.approx(0, abs=1e-6)


def test_the_maximum_is_of_the_absolute_value() -> None:
    statistics = PaddingStatistics(ActionSpace(1, 2, chunk_size=1))
    statistics.update(torch.tensor([[[1.0, -5.0]], [[-2.0, 3.0]]]))
    result = statistics.compute()
    assert (result["real/abs_max"].item(), result["padding/abs_max"].item()) == (2.0, 5.0)
