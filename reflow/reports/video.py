"""Videos of a page: inside it as long as it stays light, beside it beyond that."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from reflow.reports.template import render_part

EMBED_LIMIT = 8_000_000
"""Bytes of video that a page holds; further ones are linked, relative to the page."""


def video_elements(videos: Sequence[Path], page: Path, limit: int = EMBED_LIMIT) -> Markup:
    """HTML of all videos, in their order.

    Args:
        videos: ``.mp4`` files; one that is gone is said to be gone.
        page: the file the HTML goes to.
        limit: bytes of video to embed.
    """
    found, left = [], limit
    for video in videos:
        size = video.stat().st_size if video.is_file() else None
        beside = size is not None and size > left
        if size is None:
            source = ""
        elif beside:
            source = quote(Path(os.path.relpath(video.resolve(), page.resolve().parent)).as_posix())
        else:
            left -= size
            source = f"data:video/mp4;base64,{base64.b64encode(video.read_bytes()).decode()}"
        name = video.stem.replace("-", " ").replace("_", " ")
        entry = {"file": video.name, "name": name, "source": source, "size": size, "beside": beside}
        found.append(render_part("video", entry))
    return Markup("").join(found)
