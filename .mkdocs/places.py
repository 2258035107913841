"""Where a file of the repository is found on the site, and the links of a page changed accordingly.

Pages link to files as they lie in the repository, so that a forge can follow. What lies in docs/ is on the site under
the same name; the few files outside it that pages link to are put there by `generated`.
"""

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_PAGES = {
    "README.md": "index.md",
    "docs/README.md": "contents.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "license.md",
    "reflow/demo/assets/README.md": "demo.md",
    "notebooks": "notebooks/index.md",
    "conf": "configuration.md",
    "reflow": "api/index.md",
}
_LINK = re.compile(r"(?<=\]\()(?P<file>[^)\s#]*)(?P<anchor>#[^)\s]*)?(?=\))")


def site_path(path: Path) -> str:
    """Where a file of the repository is on the site: the path of its source there."""
    name = path.relative_to(ROOT).as_posix()
    if name in _PAGES:
        return _PAGES[name]
    if path.is_relative_to(DOCS) and path.suffix != ".py":
        return path.relative_to(DOCS).as_posix()
    if path.suffix == ".ipynb":
        return f"notebooks/{path.stem}.md"
    return f"source/{name}.md" if path.suffix == ".py" else f"source/{name}"


def targets(text: str, origin: Path) -> set[Path]:
    """Files of the repository that a page at ``origin`` links to."""
    files = {found["file"] for found in _LINK.finditer(text)}
    paths = {(origin.parent / file).resolve() for file in files if file and "://" not in file}
    return {path for path in paths if path.exists()}


def relinked(text: str, origin: Path, uri: str) -> str:
    """A page's text with links that lead somewhere on the site.

    Args:
        text: Markdown.
        origin: where it lies in the repository.
        uri: where it is on the site.
    """

    def change(found: re.Match[str]) -> str:
        file, anchor = found["file"], found["anchor"] or ""
        target = (origin.parent / file).resolve()
        if not file or "://" in file or not target.exists():
            return found[0]  # a link that leads nowhere is mkdocs' to refuse
        return os.path.relpath(site_path(target), os.path.dirname(uri) or ".") + anchor

    return _LINK.sub(change, text)
