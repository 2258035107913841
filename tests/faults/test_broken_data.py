"""An episode that is broken stops a run in words; left out as those words say, the run goes to its end."""

import io
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.builders import TOP, make_dataset, make_teacher_folder, repo_id
from tests.distill.conftest import SMALL
from tests.faults.processes import Command, start
from tests.inputs.broken import Break, column, put

ROW = 40  # of the last of four episodes, of twelve frames each


def picture(change: Callable[[bytes], bytes | None]) -> Break:
    """Another picture in one frame."""

    def act(cells: list[Any]) -> None:
        cells[ROW] = {"bytes": change(cells[ROW]["bytes"]), "path": cells[ROW]["path"]}

    return column(TOP, act)


def colourless(_: bytes) -> bytes:
    """A picture in grey, where the others have colours."""
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "png")
    return out.getvalue()


def film(folder: Path) -> None:
    """The film of a recording that had one episode less."""
    shorter = make_dataset(folder.with_name("shorter"), video=True, episodes=3)
    (file,) = folder.glob("videos/*/*/*.mp4")
    shutil.copy(shorter / file.relative_to(folder), file)


BROKEN: dict[str, Break] = {
    "a row": column("action", put(ROW, 5, math.nan)),
    "a picture cut short": picture(lambda content: content[: len(content) // 2]),
    "no picture": picture(lambda _: None),
    "a grey picture": picture(colourless),
    "a film that ends too early": film,
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_episode_is_named_and_can_be_left_out(what: str, tmp_path: Path) -> None:
    teacher = make_teacher_folder(tmp_path / "teacher" / "pretrained_model", num_steps=4)
    root = make_dataset(tmp_path / "set", video="film" in what)
    BROKEN[what](root)
    words = [f"teacher.path={teacher}", f"data.repo_id={repo_id(root)}", f"data.root={root}", "+fix=full32"]
    # All frames of the other episodes are seen: three of twelve in each step.
    words += [*SMALL, "trainer.max_steps=24", "trainer.accelerator=cpu", f"run_dir={tmp_path / 'run'}"]

    def run(*more: str) -> Command:
        now = start("reflow.train", [*words, *more], tmp_path / "log")
        now.end()
        return now

    refused = run()
    assert refused.process.exitcode == 2, refused.said
    assert re.search(r"episodes? \[?3\b", refused.said), refused.said
    (suggested,) = re.findall(r"data\.exclude_episodes=\[[\d, ]+\]", refused.said)
    assert suggested == "data.exclude_episodes=[3]"
    again = run(suggested, f"run_dir={tmp_path / 'again'}")
    assert again.process.exitcode == 0, again.said
    assert (tmp_path / "again" / "pretrained_model").is_dir()
