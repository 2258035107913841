"""The site: complete, without a link that leads nowhere, without anything from elsewhere, in light and in dark."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from reflow.config_path import CONFIG_DIR
from reflow.reports.theme import both, color, drawing

ROOT = Path(__file__).parents[1]
MAKERS = ROOT / ".mkdocs"


@pytest.fixture(autouse=True)
def makers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(MAKERS))


def pages_of(menu: list) -> Iterator[str]:
    for entry in menu:
        for page in entry.values() if isinstance(entry, dict) else [entry]:
            yield from pages_of(page) if isinstance(page, list) else [page]


def test_the_menu_has_every_page_once() -> None:
    from generated import pages
    from menu import menu
    from places import site_path

    there = [*(ROOT / "docs").glob("*.md"), *(path for path in pages() if path.parent != ROOT / "docs")]
    shown = list(pages_of(menu(["api/index.md"])))
    assert sorted(shown) == sorted({*map(site_path, there), "api/index.md"})


def test_links_lead_to_pages_made_of_what_they_name() -> None:
    from places import relinked

    text = (
        "[a](../CONTRIBUTING.md#style) [b](cluster.md) [c](../reflow/policies/evo1.py) [d](#here) [e](https://x.org)"
        " ![f](images/one_step.png) [g](nowhere.md) [h](../conf)"
    )
    assert relinked(text, ROOT / "docs" / "tutorial.md", "tutorial.md") == (
        "[a](contributing.md#style) [b](cluster.md) [c](source/reflow/policies/evo1.py.md) [d](#here) [e](https://x.org)"
        " ![f](images/one_step.png) [g](nowhere.md) [h](configuration.md)"
    )
    demo = ROOT / "notebooks" / "01_three_problems.ipynb"
    assert relinked("[a](../docs/padding.md)", demo, "notebooks/01.md") == "[a](../padding.md)"


def test_parameters_explained_together_are_taken_apart() -> None:
    from docstrings import apart

    together = "Args:\n    low, high: of :class:`Range`,\n        in m.\n    name: a, b: both.\n\nx, y: no."
    each = "    {}: of `Range`,\n        in m.\n".format
    assert apart(together) == f"Args:\n{each('low')}{each('high')}    name: a, b: both.\n\nx, y: no."


def test_every_module_has_its_place_in_the_api() -> None:
    from reference import api

    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "reflow").rglob("*.py")
    }
    listed = re.findall(r"^::: (\S+)", "".join(api().values()), re.MULTILINE)
    assert sorted(listed) == sorted(modules - {"reflow"})


def test_the_groups_and_choices_told_are_those_there_are() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    rows = re.findall(r"^\| `\+?(\w+)` \| (`.*?`) \| ", text.partition("## Groups")[2], re.MULTILINE)
    told = {group: sorted(re.findall(r"`(\w+)`", choices)) for group, choices in rows}
    folders = (path for path in Path(CONFIG_DIR).iterdir() if path.is_dir())
    assert told == {path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in folders}
    commands = re.findall(
        r"^\| (`.*?`) \| ", text.partition("## Commands")[2].partition("## ")[0], re.MULTILINE
    )
    assert sorted(re.findall(r"`(\w+)`", "".join(commands))) == sorted(
        path.stem for path in Path(CONFIG_DIR).glob("*.yaml")
    )


def drawn(path: Path, colors: dict[str, str]) -> np.ndarray:
    with drawing():
        figure = Figure(figsize=(3, 2), facecolor=colors["card"])
        axes = figure.subplots()
        axes.set_axis_off()
        axes.plot([0, 1], [0, 1], color=colors["student"])
        axes.fill_between([0, 1], [0.5, 0.2], [0.9, 0.4], color=colors["teacher"], alpha=0.3, linewidth=0)
        axes.text(0.2, 0.05, "words", color=colors["ink"])
        figure.savefig(path, dpi=150)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_a_picture_turned_dark_is_the_one_drawn_dark(tmp_path: Path) -> None:
    from pictures import dark

    roles = ("card", "student", "teacher", "ink")
    hexadecimal = {color("card"): 0} | {f"#{light.hex()}": number for number, light in enumerate(both()[0])}
    darks = {role: f"#{both()[1][hexadecimal[color(role)]].hex()}" for role in roles}
    drawn(tmp_path / "light.png", {role: color(role) for role in roles})
    wanted = drawn(tmp_path / "dark.png", darks)
    turned = np.asarray(dark(tmp_path / "light.png").convert("RGB")).astype(int)
    off = np.abs(turned - wanted).max(axis=-1)
    assert turned.mean() < 60  # of 255: it is dark
    assert (off > 40).mean() < 0.01  # where three colours meet in a pixel
    assert (
        off.mean() < 4
    )  # colours are rounded when they are drawn, and reduced to a palette when they are turned


class Links(HTMLParser):
    """What a page names, and what is loaded with it."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.anchors |= {value for key in ("id", "name") if (value := given.get(key))}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        elif tag in ("script", "img", "link", "iframe", "source"):
            self.loaded += [value for key in ("src", "href") if (value := given.get(key))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-f",
        str(ROOT / ".mkdocs.yml"),
        "-d",
        str(folder),
    ]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def read(site: Path) -> dict[Path, Links]:
    found = {}
    for page in site.rglob("*.html"):
        found[page] = Links()
        found[page].feed(page.read_text())
    return found


@pytest.mark.slow
def test_links_and_files_of_the_built_site_are_there(site: Path, read: dict[Path, Links]) -> None:
    missing = []
    for page, links in read.items():
        if page.name == "404.html":
            continue  # it stands for any address, so its links are absolute
        for link in links.links + links.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            anchor = unquote(parts.fragment) if target.suffix == ".html" else ""
            if not target.is_file() or (anchor and anchor not in read[target].anchors):
                missing.append(f"{page.relative_to(site)}: {link}")
    assert missing == []


@pytest.mark.slow
def test_nothing_comes_from_elsewhere(site: Path, read: dict[Path, Links]) -> None:
    loaded = {link for links in read.values() for link in links.loaded if not link.startswith("data:")}
    assert {link for link in loaded if urlsplit(link).netloc} == set()
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert re.findall(r"@import[^;]*|url\([\"']?(?:https?:)?//[^)]*", styles) == []


@pytest.mark.slow
def test_every_picture_is_there_in_light_and_in_dark(read: dict[Path, Links]) -> None:
    pictures = {
        link for links in read.values() for link in links.loaded if ".png" in link and "assets/" not in link
    }
    light, dark = (
        {link.removesuffix(end) for link in pictures if link.endswith(end)}
        for end in (".png#only-light", "_dark.png#only-dark")
    )
    assert light
    assert light == dark
    assert len(pictures) == len(light) + len(dark)
