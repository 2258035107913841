"""The site's menu: the sections of docs/README.md, whose tables begin with a link to each page."""

import re

from places import DOCS, ROOT, site_path

_ROW = re.compile(r"^\| \[(?P<title>[^]]+)\]\((?P<file>[^)#\s]+)\)")


def menu(reference: list) -> list:
    """What mkdocs calls ``nav``.

    Args:
        reference: the pages of the API, the first of them its index.
    """
    notebooks = sorted(path.resolve() for path in (ROOT / "notebooks").glob("*.ipynb"))
    folders = {
        "api/index.md": reference,
        "notebooks/index.md": ["notebooks/index.md", *map(site_path, notebooks)],
    }
    sections: list = [{"Home": "index.md"}]
    for part in re.split(r"^## ", (DOCS / "README.md").read_text(), flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        rows = [found for line in text.splitlines() if (found := _ROW.match(line))]
        pages: list = []
        for row in rows:
            uri = site_path((DOCS / row["file"]).resolve())
            pages.append({row["title"]: folders.get(uri, uri)})
        if pages:
            sections.append({title: pages})
    first = next(iter(sections[1].values()))
    first.append({"All pages, all words": "contents.md"})
    return sections
