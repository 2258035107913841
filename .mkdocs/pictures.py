"""Pictures in light and dark: those of docs/images have the light colours of reflow's reports; here they turn dark.

Every colour of a report has a role (`reflow.reports.theme`), and so every pixel of a figure is a mix of two roles'
colours: a stroke on the card, a band over another. It becomes the same mix of those roles' dark colours.
"""

import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from places import ROOT

sys.path.insert(0, str(ROOT))  # this checkout's colours, whichever is installed
from reflow.reports.theme import both

_PICTURE = re.compile(r"!\[(?P<words>[^]]*)\]\((?P<file>[^)\s]*images/[^)\s]+)\.png\)")


def dark(path: Path) -> Image.Image:
    """The same picture for a dark page."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    colors, where = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    turned = _turned(colors.astype(float)).round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(turned[where.ravel()].reshape(pixels.shape)).quantize(160)


def in_both(markdown: str) -> str:
    """Each picture twice, of which the page shows the one that fits."""
    return _PICTURE.sub(
        r"![\g<words>](\g<file>.png#only-light)\n![\g<words>](\g<file>_dark.png#only-dark)", markdown
    )


def _turned(colors: np.ndarray) -> np.ndarray:
    """Colours ``[n, 3]`` from light to dark: of all pairs of roles the one whose mixes come nearest.

    A mix with the card is taken where it fits as well as another (within 3 of 255): that is what strokes are on.
    """
    lights, darks = (np.array([list(color) for color in side], dtype=float) for side in both())
    card, *others = range(len(lights))
    nearest, best = np.zeros_like(colors), np.full(len(colors), np.inf)
    pairs = [(card, other) for other in others]
    pairs += [(one, other) for one in others for other in others if one < other]
    for number, (one, other) in enumerate(pairs):
        line = lights[other] - lights[one]
        share = ((colors - lights[one]) @ line / (line @ line)).clip(0, 1)[:, None]
        off = np.linalg.norm(colors - (lights[one] + share * line), axis=1) + 3 * (number >= len(others))
        closer = off < best
        best[closer] = off[closer]
        nearest[closer] = (darks[one] + share * (darks[other] - darks[one]))[closer]
    return nearest
