"""How fast is it, beside the loop it replaces? ``python -m reflow.benchmark size=smolvla-1``.

In its folder this leaves ``benchmark.json`` (hardware, versions, every round's raw seconds, and what follows from
them), ``benchmark.md`` (the same as a page, with the command) and figures.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console

from reflow.cli import command, overrides
from reflow.config.benchmark import BENCHMARK, RENAMED, check_benchmark, results_folder
from reflow.config.parts import device_of
from reflow.files import replace_text, write_json
from reflow.reports.figures.speed import draw_quality, draw_speed
from reflow.reports.theme import drawing
from reflow.speed.disk import PairsOnDisk, fill_pairs
from reflow.speed.geometry import Place, get_geometry, lay_out
from reflow.speed.hardware import hardware_here
from reflow.speed.measure import SpeedSettings, measure
from reflow.speed.page import page_of
from reflow.speed.quality import QualitySettings
from reflow.speed.race import race
from reflow.speed.show import print_findings, print_race


def benchmark(config: DictConfig) -> dict[str, Any]:
    """Measures, prints and writes.

    Args:
        config: ``conf/benchmark.yaml``, composed.

    Returns:
        What ``benchmark.json`` holds.

    Raises:
        UserError: bad input, before anything is measured.
        UserError: a process that measures memory failed.
    """
    settings, race_settings = check_benchmark(config)
    device = device_of(config.device)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.set_float32_matmul_precision(config.matmul_precision)
    geometry = get_geometry(config.size)
    folder = results_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        contextlib.redirect_stdout(sys.stderr),  # LeRobot prints while it loads
        Console(stderr=True).status("building") as status,
    ):
        place = lay_out(geometry, Path(scratch), frames=config.frames, seed=config.seed)
        words = shlex.join(["python", "-m", "reflow.benchmark", *overrides()])
        content: dict[str, Any] = {"size": config.size, "command": words, "hardware": hardware_here(device)}
        pairs = _pairs(config, place, Path(scratch, "pairs"), settings, race_settings, status.update)
        content["pairs"] = None if pairs is None else pairs.as_json()
        if settings is not None:
            content |= measure(geometry, place, settings, device, pairs, status.update)
        if race_settings is not None:
            content["quality"] = race(
                place,
                race_settings,
                pairs=pairs,
                device=device,
                precision=config.precision,
                velocity=config.velocity,
                show=status.update,
            )
    files = [
        write_json(folder / "benchmark.json", content),
        replace_text(folder / "benchmark.md", page_of(content)),
    ]
    with drawing():
        if settings is not None:
            files.append(folder / "speed.png")
            draw_speed(content).figure.savefig(files[-1], dpi=150)
        if race_settings is not None:
            files.append(folder / "quality.png")
            draw_quality(content["quality"]).figure.savefig(files[-1], dpi=150)
    if settings is not None:
        print_findings(content)
    if race_settings is not None:
        print_race(content["quality"])
    print("", *files, sep="\n")
    return content


def _pairs(
    config: DictConfig,
    place: Place,
    folder: Path,
    settings: SpeedSettings | None,
    race_settings: QualitySettings | None,
    show: Callable[[str], None],
) -> PairsOnDisk | None:
    """A pair cache that holds what measurement and race read; None where they read none."""
    reading: list[tuple[int, set[str]]] = []
    if settings is not None and settings.reads_pairs:
        reading.append((settings.draws, settings.stores))
    if race_settings is not None and race_settings.reads_pairs:
        reading.append((race_settings.pool, race_settings.stores))
    if not reading:
        return None
    show("filling the pair cache")
    return fill_pairs(
        place,
        folder,
        draws=max(draws for draws, _ in reading),
        stores=sorted(set[str]().union(*(stores for _, stores in reading))),
        batch_size=config.batch_size or get_geometry(config.size).batch_size,
        precision=config.precision,
        velocity=config.velocity,
        device=device_of(config.device),
        seed=config.seed,
    )


@command("benchmark", BENCHMARK, renamed=RENAMED)
def main(config: DictConfig) -> None:
    """Command-line entry."""
    benchmark(config)


if __name__ == "__main__":
    main()
