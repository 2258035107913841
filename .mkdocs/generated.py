"""Pages and files that lie outside docs/, as pages of the site."""

import json
from pathlib import Path

from places import DOCS, ROOT, site_path, targets

_BEHIND = "---\nsearch:\n  boost: 0.4\n---\n\n"  # the pages that explain, in a search
_OUTSIDE = ("README.md", "docs/README.md", "CONTRIBUTING.md", "CHANGELOG.md", "reflow/demo/assets/README.md")


def pages() -> dict[Path, str]:
    """Markdown by the file of the repository that it comes from."""
    texts = {ROOT / name: (ROOT / name).read_text() for name in _OUTSIDE}
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    texts |= {notebook: _notebook(notebook) for notebook in notebooks}
    texts[ROOT / "notebooks"] = "# Notebooks\n\nThey run in the tests.\n\n" + "".join(
        f"- [{_title(texts[notebook])}]({'notebooks/' + notebook.name})\n" for notebook in notebooks
    )
    return texts


def files(texts: dict[Path, str]) -> dict[Path, str]:
    """Other files that pages link to: text of a page for code, empty for what is copied as it is."""
    linked: set[Path] = set()
    for origin, text in (texts | {page: page.read_text() for page in DOCS.glob("*.md")}).items():
        linked |= targets(text, origin)
    return {
        path: _source(path) if path.suffix == ".py" or path.name == "LICENSE" else ""
        for path in sorted(linked)
        if path.is_file() and path not in texts and site_path(path).startswith(("source/", "license"))
    }


def _title(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("# ")).removeprefix("# ")


def _source(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    fence = "```" + ("python" if path.suffix == ".py" else "text")
    return f"---\nsearch:\n  exclude: true\n---\n\n# {name}\n\n{fence}\n{path.read_text()}\n```\n"


def _notebook(path: Path) -> str:
    cells = json.loads(path.read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    return _BEHIND + "\n\n".join(
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell, text in zip(cells, texts, strict=True)
    )
