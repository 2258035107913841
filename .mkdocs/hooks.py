"""What the site is beside docs/*.md: mkdocs calls these while it builds."""

from io import BytesIO
from pathlib import Path

import generated
import reference
from menu import menu
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pictures import dark, in_both
from places import DOCS, ROOT, relinked, site_path

_origins: dict[str, Path] = {}  # of pages that do not lie in docs/


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The menu is that of docs/README.md."""
    names = [uri for uri in reference.api() if uri != "api/index.md"]
    config.nav = menu(["api/index.md", *({Path(uri).stem: uri} for uri in names)])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages outside docs/, the API, the code that is linked to, and the dark pictures."""

    def add(uri: str, **content: str | bytes) -> None:
        files.append(File.generated(config, uri, **content))

    files.remove(files.src_uris["README.md"])
    pages = generated.pages()
    for origin, text in (pages | generated.files(pages)).items():
        uri = site_path(origin)
        _origins[uri] = origin
        if text:
            add(uri, content=text)
        else:
            add(uri, abs_src_path=str(origin))
    for uri, text in reference.api().items():
        add(uri, content=text)
    for picture in sorted((DOCS / "images").glob("*.png")):
        stream = BytesIO()
        dark(picture).save(stream, format="png", optimize=True)
        add(f"images/{picture.stem}_dark.png", content=stream.getvalue())
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links lead to the site; a picture is there in light and dark."""
    uri = page.file.src_uri
    if uri.startswith(("api/", "source/")):
        return markdown
    markdown = relinked(markdown, _origins.get(uri, DOCS / uri), uri)
    if uri == site_path(ROOT / "conf"):
        markdown += reference.configurations()
    return in_both(markdown)
