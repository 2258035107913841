"""One palette: every colour has its role alone, and an inline figure has none of its own."""

import re
from xml.etree import ElementTree

import pytest

from reflow.reports import theme
from reflow.reports.figures import FIGURES, draw
from tests.reports.builders import make_content

SVG = {
    name: theme.themed_svg(drawn.figure, name.replace("_", "-"), f"<{name}> & more")
    for name, drawn in draw(make_content()).items()
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_colour_of_the_palette_is_left(name: str) -> None:
    text = SVG[name].lower()
    assert not [light for light in theme.palette() if light in text]
    assert len(set(re.findall(r"var\(--(\w+)\)", text))) > 3


@pytest.mark.parametrize("name", FIGURES)
def test_no_colour_but_the_palettes_was_drawn(name: str) -> None:
    """What matplotlib draws on its own accord would be unreadable on one of the two grounds."""
    assert re.findall(r"(?:fill|stroke): *#[0-9a-f]{3,8}", SVG[name].lower()) == []


@pytest.mark.parametrize("name", FIGURES)
def test_the_svg_is_whole_labelled_and_in_the_pages_letters(name: str) -> None:
    root = ElementTree.fromstring(SVG[name])
    assert root.get("role") == "img"
    assert root.get("aria-label") == f"<{name}> & more"
    texts = [element for element in root.iter() if element.tag.endswith("text")]
    assert texts
    assert all("var(--sans)" in (element.get("style") or "") for element in texts)
    assert "DejaVu" not in SVG[name]


def test_ids_of_two_figures_do_not_meet() -> None:
    ids = [re.findall(r' id="([^"]+)"', text) for text in SVG.values()]
    together = [one for found in ids for one in found]
    assert len(together) == len(set(together))
    for text, found in zip(SVG.values(), ids, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(found)


def test_every_role_has_a_light_colour_of_its_own_in_both_themes() -> None:
    declared = [theme.css_variables(dark=dark) for dark in (False, True)]
    names = [re.findall(r"--(\w+): (#[0-9a-f]{6});", text) for text in declared]
    assert [name for name, _ in names[0]] == [name for name, _ in names[1]]
    assert len({light for _, light in names[0]}) == len(names[0]) == len(theme.palette())


def luminance(colour: str) -> float:
    """Of WCAG 2: linear light of an sRGB colour."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("role", ["ink", "muted", "student", "teacher", "padding", "oneway", "otherway"])
def test_text_can_be_read_on_its_ground(role: str, dark: bool) -> None:
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", theme.css_variables(dark=dark)))
    light, deep = sorted((luminance(colours[role]), luminance(colours["card"])), reverse=True)
    assert (light + 0.05) / (deep + 0.05) >= 4.5


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    with theme.drawing():
        assert matplotlib.rcParams["font.size"] != before["font.size"]
    assert dict(matplotlib.rcParams) == before
