"""Pages show what comes from data as text: names, tasks and titles with HTML, LaTeX and control letters in them."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from reflow.config.runs import read_runs
from reflow.reports.compare import compare
from reflow.reports.comparison_page import write_comparison
from reflow.reports.folder import content_of_run, save_arrays
from reflow.reports.page import write_report
from tests.reports.builders import REAL, make_arrays, make_metrics

EVIL = """</title></svg>'"><script>evil()</script><img src=x onerror=evil()> $\\frac$ {{ 7 * 7 }}"""


class Page(HTMLParser):
    """The elements of a page, with what would run in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts, self.handlers, self.images = 0, list[str](), 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.images += tag in ("img", "iframe", "object")
        self.handlers += [
            name
            for name, value in attrs
            if name.startswith("on") or ("evil()" in (value or "") and name in ("href", "src"))
        ]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose every word is hostile."""
    metrics = make_metrics() | {f"straightness/joint/{EVIL}": 0.1}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    save_arrays(tmp_path / "arrays.safetensors", make_arrays())
    words = {
        **{"title": EVIL, "num_steps": 1, "commands": [EVIL], "versions": {EVIL: EVIL, "reflow": EVIL}},
        **{"joint_names": [f"{number} {EVIL}" for number in range(REAL)], "comparisons": [EVIL]},
    }
    (tmp_path / "report.json").write_text(json.dumps(words))
    padding = {"noise": "full", "target": "full", "loss": "full", "inert": False}
    config = {"seed": 1, "teacher": {"path": EVIL}, "padding": padding, "task": EVIL, EVIL: EVIL}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / f"{EVIL.replace('/', '')}.mp4").write_bytes(b"\0" * 100)
    return tmp_path


def test_a_report_shows_hostile_words_as_words(run: Path) -> None:
    write_report(content_of_run(run), run / "report.html")
    text = (run / "report.html").read_text()
    page = Page(text)
    assert page.scripts == 1  # its own
    assert page.handlers == []
    assert page.images == 0
    assert "&lt;script&gt;evil()" in text
    assert "49" not in text.partition("<title>")[2].partition("</title>")[0]


def test_a_comparison_shows_hostile_words_as_words(run: Path, tmp_path: Path) -> None:
    files = write_comparison(compare(read_runs([run]), None, (EVIL,)), tmp_path / "compared")
    text = next(file for file in files if file.suffix == ".html").read_text()
    page = Page(text)
    assert page.scripts == 1
    assert page.handlers == []
    assert page.images == 0
    assert np.char.count(text, "&lt;script&gt;") > 0
