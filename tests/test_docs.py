"""The documentation keeps its word: every link leads somewhere, every command is there and composes."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from reflow.config_path import CONFIG_DIR
from tests.commands import PAGES, ROOT
from tests.distill.conftest import composed

CONFIGURATIONS = sorted(Path(CONFIG_DIR).rglob("*.yaml"))  # their comments and help texts hold commands, too
FLAGS = ("-m", "--multirun", "--json", "--help")


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(line.lstrip("#")) for line in page.read_text().splitlines() if re.match(r"#+ ", line)}


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", page.read_text())


def commands(path: Path) -> Iterator[str]:
    """What follows ``python -m reflow.`` in a page, in a comment, or in a text for ``--help``."""
    text = path.read_text()
    if path.suffix == ".yaml":  # beside a command a remark may stand
        text = re.sub(r"(\S)[ ]{3,}.*", r"\1", text)
    text = text.replace("\\\n", " ")
    for found in re.finditer(r"python -m (reflow\.[\w.]+)([^`\n]*)", text):
        # A sentence may go on after a command that is set in no code block; no override has a comma and a space.
        yield (
            found[1].rstrip(".")
            + re.split(r"[,;:] |[.)]$|\)[,.;:]? | \(| \.\.\.| --help| --cfg", found[2])[0]
        )


def written_commands() -> list[str]:
    return sorted({command.strip() for path in (*PAGES, *CONFIGURATIONS) for command in commands(path)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_named_is_there(page: Path) -> None:
    named = re.findall(r"`((?:reflow|conf|tests|notebooks|docs)/[\w/.]+\.\w+)`", page.read_text())
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_pages_are_found_from_the_index() -> None:
    index = {
        (ROOT / "docs" / link.partition("#")[0]).resolve() for link in links(ROOT / "docs" / "README.md")
    }
    assert {page for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"} <= index


def test_commands_are_seen() -> None:
    found = written_commands()
    assert len(found) > 30
    assert "reflow.train +experiment=padding_ablation -m" in found
    assert any(
        command.startswith("reflow.diagnose") and "teacher.path=outputs" in command for command in found
    )


@pytest.mark.parametrize("command", written_commands())
def test_every_command_composes(command: str) -> None:
    module, *arguments = shlex.split(command)
    importlib.import_module(module)
    name = module.rpartition(".")[2]
    if arguments[:1] in (["verify"], ["relocate"]) or not (Path(CONFIG_DIR) / f"{name}.yaml").is_file():
        return  # no configuration of its own
    overrides = [argument for argument in arguments if argument not in FLAGS]
    singles: list[str] = []
    for override in OverridesParser.create().parse_overrides(overrides):
        value = next(override.sweep_string_iterator()) if override.is_sweep_override() else None
        singles.append(
            override.input_line or "" if value is None else f"{override.get_key_element()}={value}"
        )
    assert composed(*singles, config_name=name)


def test_the_tutorials_keys_are_there() -> None:
    rows = (ROOT / "docs" / "tutorial.md").read_text().partition("| Key | Meaning |")[2].partition("\n\n")[0]
    first = [row.split("|")[1] for row in rows.splitlines() if row.startswith("| `")]
    keys = [key.removesuffix(".*") for cell in first for key in re.findall(r"`([\w.*]+)`", cell)]
    assert len(keys) > 20
    config = composed()
    assert [key for key in keys if OmegaConf.select(config, key, default="absent") == "absent"] == []
