"""The names of figures that docs/metrics.md has, as patterns."""

import re
from collections.abc import Iterable
from pathlib import Path

_PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
_LETTERS = {
    "WHO": "(teacher|student)",
    "PART": "(real|padding)",
    "JOINT": "[^/]+",
    "WAY": "(-guided|-trained)?",
    "LATENCY": r"(measured|[\d.e+-]+ms)",
    "nN": r"n\d+",
    "n": r"\d+",
}


def _meant(text: str, word: str) -> str:
    """What a sentence such as "`MOTION` is one of" lists."""
    sentence = text.partition(f"`{word}` is ")[2].partition("\n\n")[0]
    return "(" + "|".join(re.findall(r"`(\w+)`", sentence)) + ")"


def documented() -> re.Pattern[str]:
    """Matches every name that the page has, and no other."""
    text = _PAGE.read_text()
    letters = _LETTERS | {word: _meant(text, word) for word in ("STATISTIC", "MOTION", "PAIRED")}
    cells = "".join(re.findall(r"^\| (`.*?`) \| ", text, re.MULTILINE))
    names = re.findall(r"`([^`]+)`", cells)
    token = re.compile(r"[A-Z]{3,}|(?<=@)n|(?<=/)nN")
    return re.compile("|".join(token.sub(lambda found: letters[found[0]], name) for name in names))


def undocumented(names: Iterable[str]) -> list[str]:
    """Those of the names that the page does not have."""
    known = documented()
    return sorted(name for name in names if not known.fullmatch(name))
