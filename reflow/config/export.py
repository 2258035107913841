"""``conf/export.yaml``: its schema, what is refused at once, and where a bundle goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from reflow.bundle.graphs import check_installed
from reflow.bundle.relocate import ABSOLUTE, RELATIVE
from reflow.bundle.ways import WAYS
from reflow.bundle.write import Asked
from reflow.config.checks import check_least
from reflow.errors import UserError
from reflow.policies.locate import POLICY
from reflow.schema import schema

EXPORT = schema(
    student=schema(path=str),
    data=dict[str, Any] | None,
    run_dir=str | None,
    precision=str | None,
    num_steps=int | None,
    paths=str,
    onnx=bool,
    int8=bool,
    observations=int,
    noises=int,
    task=str,
    seed=int,
    ways=list[str],
    latency_chunks=int,
    device=str,
    json=bool,
)


def asked_bundle(config: DictConfig) -> Asked:
    """The bundle that is asked for.

    Raises:
        UserError: a value out of range, or a folder that is no bundle in the bundle's place.
        NotInstalledError: ``onnx=true`` without its packages.
    """
    if OmegaConf.is_missing(config.student, "path"):
        raise UserError(
            "student.path is missing; give a run folder of reflow.train, a pretrained_model folder, or a hub id "
            "(student.path=outputs/demo)"
        )
    check_least(config, 1, "observations", "noises")
    check_least(config, 0, "latency_chunks", "seed")
    if config.paths not in (ABSOLUTE, RELATIVE):
        raise UserError(f"paths={config.paths}; allowed: {ABSOLUTE}, {RELATIVE}")
    if unknown := [way for way in config.ways if way not in WAYS]:
        raise UserError(f"ways holds {unknown[0]}; allowed: {', '.join(WAYS)}")
    if config.onnx or config.int8:
        check_installed("int8=true" if config.int8 else "onnx=true")
    asked = Asked(
        Path(config.run_dir or f"outputs/export/{name_of(config.student.path)}"),
        config.precision,
        config.num_steps,
        config.paths == RELATIVE,
    )
    asked.check_free()
    return asked


def name_of(path: str) -> str:
    """What a bundle of the policy at a path, or of that hub id, is called: as its run."""
    place = Path(path).expanduser()
    return (place.parent if place.name == POLICY else place).resolve().name
