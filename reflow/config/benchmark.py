"""``conf/benchmark.yaml``: its schema, what is refused at once, and where its results go."""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import DictConfig

from reflow.config.checks import check_least, check_matmul_precision
from reflow.config.parts import device_of, settings_of
from reflow.errors import UserError
from reflow.memory import available_memory
from reflow.schema import keys_of, schema, schema_of
from reflow.speed.geometry import check_memory, get_geometry
from reflow.speed.measure import SpeedSettings
from reflow.speed.quality import QualitySettings

BENCHMARK = schema(
    **keys_of(SpeedSettings)
    | {
        "size": str,
        "batch_size": int | None,
        "frames": int,
        "matmul_precision": str,
        "speed": bool,
        "quality": bool,
        "race": schema_of(QualitySettings, but=("seed",)),
        "device": str,
        "threads": int | None,
        "run_dir": str | None,
    }
)
RENAMED = {"output": "is now run_dir"}


def check_benchmark(config: DictConfig) -> tuple[SpeedSettings | None, QualitySettings | None]:
    """What can be said of the settings before anything is built.

    Returns:
        Settings of the measurement and of the race, None for what is left out.

    Raises:
        UserError: names the key, what is allowed there, and the value.
    """
    geometry = get_geometry(config.size)
    check_least(config, 1, "frames", "threads")
    check_matmul_precision(config)
    if not config.speed and not config.quality:
        raise UserError("speed=false and quality=false: nothing is left to measure; set one of them to true")
    batch_size = geometry.batch_size if config.batch_size is None else config.batch_size
    settings = settings_of(SpeedSettings, config, batch_size=batch_size)
    race = settings_of(QualitySettings, config.race, seed=config.seed)
    if device_of(config.device) == "cuda":
        check_memory(config.size, torch.cuda.mem_get_info()[0])
        return settings if config.speed else None, race if config.quality else None
    if "graphed" in settings.latency_ways:
        raise UserError(
            "latency_ways holds graphed with the device cpu; a CUDA graph needs a GPU: leave it out "
            "(latency_ways=[eager,compiled])"
        )
    check_memory(config.size, available_memory())
    return settings if config.speed else None, race if config.quality else None


def results_folder(config: DictConfig) -> Path:
    """Where the results go: named by what was measured, so that two measurements do not meet."""
    if config.run_dir is not None:
        return Path(config.run_dir).expanduser().resolve()
    parts = [config.size, config.precision, *([config.velocity] if config.velocity else [])]
    parts += [config.matmul_precision] if config.matmul_precision != "highest" else []
    parts += [f"batch_{config.batch_size}"] if config.batch_size is not None else []
    parts += [device_of(config.device)]
    return Path("outputs", "benchmark", "-".join(parts)).resolve()
