"""Videos of a page: inside it as long as it stays light, beside it beyond that."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

EMBED_LIMIT = 8_000_000
"""Bytes of video that a page holds; further ones are linked, relative to the page."""


def video_elements(videos: Sequence[Path], page: Path, limit: int = EMBED_LIMIT) -> str:
    """HTML of all videos, in their order.

    Args:
        videos: ``.mp4`` files; one that is gone is said to be gone.
        page: the file the HTML goes to.
        limit: bytes of video to embed.
    """
    left = limit
    found = []
    for video in videos:
        if not video.is_file():
            found.append(f'<p class="note">{escape(video.name)} is not there any more.</p>')
            continue
        size = video.stat().st_size
        if size <= left:
            left -= size
            source = f"data:video/mp4;base64,{base64.b64encode(video.read_bytes()).decode()}"
            note = ""
        else:
            source = quote(Path(os.path.relpath(video.resolve(), page.resolve().parent)).as_posix())
            note = (
                f'<br><span class="note">{size / 1e6:.1f} MB, not part of this file: it plays from '
                f'<a href="{escape(source)}">{escape(source)}</a>.</span>'
            )
        name = escape(video.stem.replace("-", " ").replace("_", " "))
        found.append(
            f'<figure class="video"><video controls muted loop playsinline preload="metadata" src="{escape(source)}" '
            f'aria-label="Video: {name}"></video><figcaption>{name}{note}</figcaption></figure>'
        )
    return "\n".join(found)
