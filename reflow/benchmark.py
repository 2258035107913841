"""How fast is it, beside the loop it replaces? ``python -m reflow.benchmark size=smolvla-1``.

Hydra ends here. In the output folder this leaves ``benchmark.json`` (hardware, versions, every round's raw seconds,
and what follows from them), and figures.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import hydra
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from reflow.config import MATMUL_PRECISIONS, check_schema
from reflow.config.run_folder import write_json
from reflow.config_path import CONFIG_DIR
from reflow.memory import available_memory
from reflow.quiet import hush
from reflow.reports.figures.speed import draw_quality, draw_speed
from reflow.reports.theme import drawing
from reflow.speed.disk import PairsOnDisk, fill_pairs
from reflow.speed.geometry import Place, check_memory, get_geometry, lay_out
from reflow.speed.hardware import hardware_here
from reflow.speed.measure import DEFAULT_VARIANTS, SpeedSettings, measure
from reflow.speed.quality import DEFAULT_CONTENDERS, QualitySettings
from reflow.speed.race import race
from reflow.speed.show import print_findings, print_race

USER_ERRORS = (ValueError, OSError, RuntimeError)


@dataclass
class RaceValues:
    """Arguments of :class:`reflow.speed.quality.QualitySettings`; ``seed`` is the whole benchmark's."""

    contenders: list[str] = field(default_factory=lambda: list(DEFAULT_CONTENDERS))
    goals: list[float] = field(default_factory=lambda: [0.16, 0.14, 0.12])
    budget: float = 600.0
    every: int = 20
    size: int = 16
    constant: str = "pairs"
    pool: int = 8
    held_out: int = 64
    held_out_draws: int = 4
    warmup_steps: int = 30
    lr: float | None = None
    ema: float | None = 0.995
    reference_padding: str = "real"


@dataclass
class BenchmarkSettings:
    """The whole of ``conf/benchmark.yaml``."""

    size: str = "demo"
    variants: list[str] = field(default_factory=lambda: list(DEFAULT_VARIANTS))
    rounds: int = 5
    warmup: int = 1
    batch_size: int | None = None
    draws: int = 8
    frames: int = 4
    precision: str = "32-true"
    matmul_precision: str = "highest"
    velocity: str | None = None
    compile: bool = False
    latency_repeats: int = 5
    velocity_repeats: int = 5
    memory: bool = True
    speed: bool = True
    quality: bool = False
    race: RaceValues = field(default_factory=RaceValues)
    device: str = "auto"
    threads: int | None = None
    seed: int = 0
    output: str | None = None


def benchmark(config: DictConfig) -> dict[str, Any]:
    """Measures, prints and writes.

    Args:
        config: ``conf/benchmark.yaml``, composed.

    Returns:
        What ``benchmark.json`` holds.

    Raises:
        ValueError, OSError: bad input, before anything is measured.
        RuntimeError: a process that measures memory failed.
    """
    settings, race_settings, device = check(config)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.set_float32_matmul_precision(config.matmul_precision)
    geometry = get_geometry(config.size)
    folder = output_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        contextlib.redirect_stdout(sys.stderr),  # LeRobot prints while it loads
        console.status("building") as status,
    ):
        place = lay_out(geometry, Path(scratch), frames=config.frames, seed=config.seed)
        content: dict[str, Any] = {"size": config.size, "hardware": hardware_here(device)}
        pairs = _pairs(config, place, Path(scratch, "pairs"), settings, race_settings, device, status.update)
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
    write_json(folder / "benchmark.json", content)
    files = [folder / "benchmark.json"]
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


def check(config: DictConfig) -> tuple[SpeedSettings | None, QualitySettings | None, str]:
    """What can be said of the settings before anything is built.

    Returns:
        Settings of the measurement and of the race, None for what is left out, and the device.

    Raises:
        ValueError: names the key, what is allowed there, and the value.
    """
    check_schema(config, BenchmarkSettings)
    geometry = get_geometry(config.size)
    for name in ("frames", "threads"):
        if config[name] is not None and config[name] < 1:
            raise ValueError(f"{name}={config[name]}; allowed: 1 or more")
    if config.matmul_precision not in MATMUL_PRECISIONS:
        raise ValueError(
            f"matmul_precision={config.matmul_precision}; allowed: {', '.join(MATMUL_PRECISIONS)} "
            "(torch.set_float32_matmul_precision)"
        )
    values: dict[str, Any] = {entry.name: config[entry.name] for entry in fields(SpeedSettings)}
    values["variants"] = tuple(config.variants)
    values["batch_size"] = geometry.batch_size if config.batch_size is None else config.batch_size
    if not config.speed and not config.quality:
        raise ValueError("speed=false and quality=false: nothing is left to measure; set one of them to true")
    settings = SpeedSettings(**values)
    race_values = cast(dict[str, Any], OmegaConf.to_container(config.race, resolve=True))
    race_values |= {name: tuple(race_values[name]) for name in ("contenders", "goals")}
    race_settings = QualitySettings(**race_values, seed=config.seed)
    device = _device(config.device)
    check_memory(config.size, available_memory())
    return settings if config.speed else None, race_settings if config.quality else None, device


def _pairs(
    config: DictConfig,
    place: Place,
    folder: Path,
    settings: SpeedSettings | None,
    race_settings: QualitySettings | None,
    device: str,
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
        device=device,
        seed=config.seed,
    )


def output_folder(config: DictConfig) -> Path:
    """Where the results go: named by what was measured, so that two measurements do not meet."""
    if config.output is not None:
        return Path(config.output).expanduser().resolve()
    parts = [config.size, config.precision, *([config.velocity] if config.velocity else [])]
    parts += [config.matmul_precision] if config.matmul_precision != "highest" else []
    parts += [f"batch_{config.batch_size}"] if config.batch_size is not None else []
    parts += [_device(config.device)]
    return Path("outputs", "benchmark", "-".join(parts)).resolve()


def _device(name: str) -> str:
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device={name}; allowed: auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda, but torch sees no GPU here; use device=auto or device=cpu")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="benchmark")
def main(config: DictConfig) -> None:
    """Command-line entry."""
    hush()
    OmegaConf.resolve(config)
    try:
        benchmark(config)
    except USER_ERRORS as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
