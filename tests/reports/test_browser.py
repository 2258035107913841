"""The page in a real browser, without a display: no error, nothing too wide for a phone, light and dark as asked.

What the page is like inside is written into an attribute of a test-only copy, and read from the browser's dump.
"""

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reflow.reports import Content, Verdict
from reflow.reports.page import write_report
from tests.reports.builders import make_content

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium on PATH: install one to see the page tested"),
]
FIRST = """<script>
window.errors = [];
addEventListener("error", event => errors.push(String(event.message || event.target.src)), true);
</script>"""
LAST = """<script>
const card = document.querySelector("#theme");
const before = getComputedStyle(document.body).backgroundColor;
if (card) card.click();
const after = getComputedStyle(document.body).backgroundColor;
if (card) card.click();
const visible = [...document.querySelectorAll("button.copy")].every(one => !one.hidden);
const boxes = [...document.querySelectorAll("figure, table, pre, video, h1, p")].filter(one => {
  const box = one.getBoundingClientRect();
  return box.right > innerWidth + 1 && !one.closest(".scroll, pre, details:not([open])");
}).map(one => one.tagName + " " + one.className);
document.body.dataset.found = JSON.stringify({
  errors, before, after, visible, boxes, inner: innerWidth, wide: document.documentElement.scrollWidth,
  ids: [...document.querySelectorAll("[id]")].map(one => one.id),
  plots: [...document.querySelectorAll("svg.plot")].map(one => one.getBoundingClientRect().width),
});
</script>"""


def browse(page: Path, scratch: Path, *arguments: str, dark: bool = False, width: int = 1200) -> str:
    """What the browser prints."""
    command = [
        CHROMIUM,
        "--no-sandbox",
        "--headless=new",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={scratch / 'profile'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--virtual-time-budget=3000",
        f"--window-size={width},1600",
        *arguments,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def look(content: Content, scratch: Path, width: int) -> dict[str, Any]:
    """What a script inside the page finds at a width. The page lies in a frame, for windows are never that narrow."""
    page = write_report(content, scratch / "report.html")
    text = page.read_text()
    probed = text.replace("<head>", f"<head>{FIRST}", 1).replace("</body>", f"{LAST}</body>", 1)
    frame = scratch / "frame.html"
    frame.write_text(
        f'<!doctype html><body><iframe width="{width}" height="1600" style="border:0" '
        f'srcdoc="{html.escape(probed)}"></iframe>'
        "<script>addEventListener('load',()=>{document.body.dataset.found="
        "document.querySelector('iframe').contentDocument.body.dataset.found})</script>"
    )
    dump = browse(frame, scratch, "--dump-dom")
    outside = re.sub(r'srcdoc="[^"]*"', "", dump)
    found = re.search(r'data-found="([^"]*)"', outside)
    assert found is not None, outside[:500]
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module", params=[390, 1200], ids=["phone", "desk"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return look(make_content(), tmp_path_factory.mktemp("page"), request.param)


def test_no_script_fails_and_all_buttons_show(found: dict[str, Any]) -> None:
    assert found["errors"] == []
    assert found["visible"]


def test_nothing_is_wider_than_the_screen(found: dict[str, Any]) -> None:
    assert found["inner"] in (390, 1200)
    assert found["wide"] <= found["inner"]
    assert found["boxes"] == []
    assert len(found["plots"]) >= 8
    assert min(found["plots"]) > 300  # letters can be read


def test_the_switch_changes_the_colours(found: dict[str, Any]) -> None:
    assert found["before"] != found["after"]


def test_every_id_is_there_once(found: dict[str, Any]) -> None:
    assert len(found["ids"]) == len(set(found["ids"]))


def test_a_long_word_does_not_widen_a_phones_page(tmp_path: Path) -> None:
    long = "x" * 300
    content = replace(
        make_content(),
        title=long,
        verdict=Verdict(long),
        commands=(long,),
        configuration=long,
        joint_names=(),
    )
    found = look(content, tmp_path, 390)
    assert found["wide"] <= 390
    assert found["errors"] == []


def test_light_is_light_and_dark_is_dark(tmp_path: Path) -> None:
    """By what the reader's system prefers: the page is told nothing."""
    page = write_report(make_content(), tmp_path / "report.html")
    means = {}
    for dark in (False, True):
        shot = tmp_path / f"{dark}.png"
        browse(page, tmp_path, f"--screenshot={shot}", dark=dark)
        means[dark] = np.asarray(Image.open(shot).convert("L")).mean()
    assert means[False] > 200
    assert means[True] < 70
