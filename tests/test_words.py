"""Sizes and durations as people read them."""

import pytest

from reflow.words import duration_words, size_words


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (7, "7 B"),
        (1500, "1.5 kB"),
        (3.2e6, "3.2 MB"),
        (12_345_678, "12.3 MB"),
        (4e9, "4 GB"),
        (5e18, "5,000 PB"),
    ],
)
def test_bytes_are_said_in_words(count: float, text: str) -> None:
    assert size_words(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.52, "0.52 s"),
        (40, "40 s"),
        (600, "10 min"),
        (5400, "90 min"),
        (3 * 3600, "3 h"),
        (12_600, "3.5 h"),
        (5 * 86_400, "5 days"),
    ],
)
def test_durations_are_said_in_words(seconds: float, text: str) -> None:
    assert duration_words(seconds) == text
