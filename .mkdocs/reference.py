"""Pages that are read off the code: the API, room by room, and every file of conf/."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from places import ROOT

PACKAGE = ROOT / "reflow"
CONF = ROOT / "conf"
_FOUND_LAST = "---\nsearch:\n  boost: 0.3\n---\n\n"  # behind the pages that people wrote
_INTRODUCTION = """# API

Every public module, class and function, read off the code. Shapes are in the signatures, by letter: `b` batch, `k`
draws per observation, `h` chunk step, `d` native width, `a` real width. Times run from 1 (noise) to 0 (action);
lengths of time are seconds where nothing else is said.

Of this, what a package of your own may rely on is what [CONTRIBUTING](../contributing.md#how-to-add) tells how to add
to: policies, objectives, probes, metrics, time samplers, solvers. The rest may change with any version.

| | |
|---|---|
"""


def _summary(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.partition("\n")[0]


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _rooms() -> Iterator[tuple[str, str, list[Path]]]:
    """Name, one line and files of each page."""
    alone = sorted(path for path in PACKAGE.glob("*.py") if path.name != "__init__.py")
    commands = [path for path in alone if (CONF / f"{path.stem}.yaml").is_file()]
    yield "commands", "The commands: what happens between the command line and the rooms.", commands
    for folder in sorted(PACKAGE.iterdir()):
        if (folder / "__init__.py").is_file():
            yield folder.name, _summary(folder / "__init__.py"), sorted(folder.rglob("*.py"))
    yield "alone", "One small thing each, written once.", [path for path in alone if path not in commands]


def api() -> dict[str, str]:
    """Text of each page by its path on the site."""
    pages, index = {}, _INTRODUCTION
    for name, line, files in _rooms():
        said = "" if files[0].name == "__init__.py" else f"{line}\n\n"  # else its docstring does
        pages[f"api/{name}.md"] = f"{_FOUND_LAST}# {name}\n\n{said}" + "\n".join(map(_module, files))
        index += f"| [{name}]({name}.md) | {line} |\n"
    return {"api/index.md": index, **pages}


def _module(path: Path) -> str:
    """What lets mkdocstrings write about a module; a package shows elsewhere what it only passes on."""
    passes_on = path.name == "__init__.py" and not re.search(r"^(def|class) ", path.read_text(), re.MULTILINE)
    return f"::: {_name(path)}\n" + "    options: {members: false}\n" * passes_on


def configurations() -> str:
    """Every file of conf/ in full: the commands' own, then the groups'."""
    text = "\n## The files\n\n### Commands\n\n" + "".join(map(_file, sorted(CONF.glob("*.yaml"))))
    for folder in sorted(path for path in CONF.iterdir() if path.is_dir()):
        text += f"### {folder.name}\n\n" + "".join(map(_file, sorted(folder.glob("*.yaml"))))
    return text


def _file(path: Path) -> str:
    """One file, folded, for there are many."""
    body = "\n".join(f"    {line}".rstrip() for line in path.read_text().splitlines())
    return f'??? note "{path.relative_to(CONF).with_suffix("")}"\n\n    ```yaml\n{body}\n    ```\n\n'
