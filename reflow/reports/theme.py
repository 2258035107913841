"""One palette for page, PNG and TensorBoard: figures are drawn in light colours, their SVG follows the page's theme.

Every colour has a role. Matplotlib draws with the role's light colour, which no other role shares; `themed_svg` puts
the CSS variable of the role in its place. Left out: which figure uses which role.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

import matplotlib
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, to_hex
from matplotlib.figure import Figure

HEAT_STEPS = 14
_ROLES = {  # role: (light, dark)
    "ink": ("#1a2330", "#e8edf3"),
    "muted": ("#566170", "#a3afbd"),
    "line": ("#aab4bf", "#4b5765"),
    "grid": ("#e3e7ec", "#2b3440"),
    "card": ("#fffffe", "#171d26"),
    "student": ("#0b7a70", "#34d3bd"),
    "teacher": ("#b4550a", "#f5a94a"),
    "padding": ("#7a40e0", "#b29bfb"),
    "noise": ("#6b7a8c", "#8d9cae"),
    "oneway": ("#2464d8", "#6ba6ff"),
    "otherway": ("#d02f72", "#fb7fb4"),
}
_HEAT_ANCHORS = (
    ("#f2f5f8", "#b5ddd3", "#3ba7a0", "#21688f", "#1e2b5e"),
    ("#1f2732", "#1f4c63", "#1f8c8c", "#83d3a0", "#fdf2a0"),
)
# Numbers that people read keep their digits; a hundredth of a point is finer than any screen.
_COORDINATES = re.compile(r' (?:d|x|y|points|transform|width|height)="[^"]*"')
_LONG = re.compile(r"(\d\.\d{2})\d+")
_FONT = "DejaVu Sans"  # comes with matplotlib, so that layouts are the same everywhere


def _ramp(anchors: tuple[str, ...]) -> list[str]:
    ramp = LinearSegmentedColormap.from_list("heat", anchors, HEAT_STEPS)
    return [to_hex(ramp(step)) for step in range(HEAT_STEPS)]


_COLORS = _ROLES | {
    f"heat{step}": pair for step, pair in enumerate(zip(*map(_ramp, _HEAT_ANCHORS), strict=True))
}


def color(role: str) -> str:
    """The light colour of a role, ``#rrggbb``; what matplotlib is to draw with."""
    return _COLORS[role][0]


def palette() -> frozenset[str]:
    """All light colours, none of which may be left in a page's SVG."""
    return frozenset(light for light, _ in _COLORS.values())


def both() -> tuple[list[bytes], list[bytes]]:
    """Red, green and blue (0 to 255) of all roles, in light and in dark; the card, on which all is drawn, first."""
    roles = sorted(_COLORS, key=lambda role: role != "card")
    light, dark = ([bytes.fromhex(_COLORS[role][side][1:]) for role in roles] for side in (0, 1))
    return light, dark


def heat_colors() -> Colormap:
    """From nothing to much; where there is nothing to show, nothing is drawn."""
    return ListedColormap([color(f"heat{step}") for step in range(HEAT_STEPS)]).with_extremes(
        bad=(0, 0, 0, 0)
    )


def css_variables(*, dark: bool) -> str:
    """Declarations ``--student: #0b7a70; ...`` of one theme."""
    return " ".join(f"--{role}: {pair[dark]};" for role, pair in _COLORS.items())


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib's settings while a figure is drawn."""
    with matplotlib.rc_context(
        {
            "font.family": _FONT,
            "font.size": 9,
            "axes.titlesize": 9.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 9,
            "axes.edgecolor": color("line"),
            "axes.labelcolor": color("muted"),
            "axes.titlecolor": color("ink"),
            "axes.facecolor": "none",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "figure.facecolor": color("card"),
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.h_pad": 0.06,
            "figure.constrained_layout.w_pad": 0.06,
            "grid.color": color("grid"),
            "grid.linewidth": 0.8,
            "legend.frameon": False,
            "legend.fontsize": 8.5,
            "legend.labelcolor": color("ink"),
            "lines.linewidth": 1.8,
            "text.color": color("ink"),
            "text.parse_math": False,  # names come from data, and a dollar in one is a dollar
            "xtick.color": color("line"),
            "ytick.color": color("line"),
            "xtick.labelcolor": color("muted"),
            "ytick.labelcolor": color("muted"),
            "xtick.labelsize": 8.5,
            "ytick.labelsize": 8.5,
        }
    ):
        yield


def themed_svg(figure: Figure, name: str, label: str) -> str:
    """A figure as inline SVG whose colours and letters are the page's.

    Args:
        figure: drawn within `drawing`.
        name: distinguishes its ids from those of other figures on the page.
        label: what a screen reader says of it.
    """
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "svg.id": None}):
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert size is not None  # matplotlib always writes one
    head = (
        f'<svg class="plot" role="img" aria-label="{escape(label)}" viewBox="0 0 {size[1]} {size[2]}" '
        f'style="--w: {float(size[1]):.0f}">'
    )
    text = head + text[text.index(">") + 1 :]
    for old, new in (
        (r' id="([^"]+)"', rf' id="{name}-\1"'),
        (r"url\(#([^)]+)\)", rf"url(#{name}-\1)"),
        (r' xlink:href="#([^"]+)"', rf' href="#{name}-\1"'),
        (rf"'{_FONT}'(, [^;\"]+)?", "var(--sans)"),
        (r"\n\s*", "\n"),
    ):
        text = re.sub(old, new, text)
    text = _COORDINATES.sub(lambda found: _LONG.sub(r"\1", found[0]), text)
    for role, (light, _) in _COLORS.items():
        text = text.replace(light, f"var(--{role})")
    return text.strip()
