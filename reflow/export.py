"""A student to take along: ``python -m reflow.export student.path=outputs/demo onnx=true``.

Writes one folder with all that stock LeRobot needs, proves it in a fresh process without network, adds ONNX graphs
where they are asked for, and times a chunk in every way there is. ``export.json`` beside the weights says all of it.
``python -m reflow.export relocate DIR`` tells such a folder, or a run's ``pretrained_model``, where it is.
"""

from __future__ import annotations

import contextlib
import copy
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from reflow.bundle.graphs import INT8, quantize, write_graphs
from reflow.bundle.latency import measure_chunks
from reflow.bundle.observations import Tried, drawn, held_out
from reflow.bundle.parity import EndpointDifference, check_parity, endpoint_differences
from reflow.bundle.proof import acts, prove
from reflow.bundle.relocate import relocate_command
from reflow.bundle.show import export_tables
from reflow.bundle.ways import COMPILED, EAGER, GRAPHED, ONNX, Way, full_length, way_of
from reflow.bundle.write import EXPORT as FILE
from reflow.bundle.write import computed_in, take_steps, write_bundle
from reflow.cli import command
from reflow.config.export import EXPORT, asked_bundle
from reflow.config.inputs import open_inputs
from reflow.config.parts import Teacher, device_of
from reflow.demo import embedded
from reflow.doctor.show import print_table
from reflow.files import write_json
from reflow.notices import warn
from reflow.policies import FlowPolicy, find_folder, fingerprint, load_policy, load_processors
from reflow.policies.offline import without_hub
from reflow.policies.sums import write_sums
from reflow.speed.hardware import hardware_here

_WIDTH = 110  # of a file or a pipe


@dataclass(frozen=True)
class Exported:
    """A bundle that was written and proved.

    Attributes:
        folder: of the bundle.
        content: of its ``export.json``.
    """

    folder: Path
    content: dict[str, Any]


def export(config: DictConfig) -> Exported:
    """Writes, proves and times a bundle.

    Args:
        config: ``conf/export.yaml``, composed.

    Raises:
        UserError: bad input; or stock LeRobot, or onnxruntime, would not do what the policy does.
    """
    asked, device = asked_bundle(config), device_of(config.device)
    found = find_folder(embedded.policy_path(config.student.path), "student.path")
    content: dict[str, Any] = {"source": {"path": config.student.path, "fingerprint": fingerprint(found)}}
    with tempfile.TemporaryDirectory() as scratch:
        source = without_hub(found, Path(scratch, "policy"))
        flow, tried = _opened(config, source)
        take_steps(flow, asked.num_steps)
        precision = computed_in(flow, asked, source)
        wanted = acts(flow, load_processors(source, flow)[0], tried)
        folder = write_bundle(flow, source, asked)
    exact = asked.precision in (None, "float32") and precision in (None, "float32")
    flow = load_policy(folder)  # what was written, not what was to be
    proof = prove(folder, wanted, flow, tried, inside=asked.relative, exact=exact)
    content |= {
        "type": flow.config.type,
        "num_steps": flow.num_steps,
        "precision": asked.precision,
        "computed_in": precision,
        "paths": config.paths,
        "proof": asdict(proof),
        "onnx": {},
        "latency": [],
        "hardware": hardware_here(device),
    }
    ways: list[Way] = []
    if config.onnx or config.int8:
        ways = _graphs(flow, folder, tried, int8=config.int8)
        differences = _compared(flow, folder, ways, tried, config)
        content["onnx"] = {name: asdict(difference) for name, difference in differences.items()}
    if config.latency_chunks:
        ways = [
            *_torch_ways(config.ways, flow, folder, tried, device),
            *(w for w in ways if w.name in config.ways),
        ]
        rows = measure_chunks(flow, ways, tried.raw, chunks=config.latency_chunks)
        content["latency"] = [asdict(row) for row in rows]
    write_json(folder / FILE, content)
    write_sums(folder)
    return Exported(folder, content)


def _opened(config: DictConfig, source: Path) -> tuple[FlowPolicy, Tried]:
    """The policy, and observations to try it on."""
    if config.data is None:
        flow = load_policy(source)
        return flow, drawn(flow, source, config.observations, config.task, config.seed)
    own: dict[str, Any] = {"preload": False}
    if config.data["repo_id"] is None and config.data["mixture"] is None:
        own |= {"repo_id": embedded.REPO_ID, "root": embedded.DATA}
    inputs = open_inputs(config, Teacher(str(source)), **own)
    name = " and ".join(str(one.meta.repo_id) for one in inputs.data)
    return inputs.teacher, held_out(inputs.open_data(seed=config.seed), config.observations, name)


def _graphs(flow: FlowPolicy, folder: Path, tried: Tried, *, int8: bool) -> list[Way]:
    preprocess, _ = full_length(folder, flow)
    write_graphs(flow, preprocess(dict(tried.raw[0])), folder)
    if int8:
        quantize(folder)
    names = [ONNX, INT8] if int8 else [ONNX]
    return [way_of(name, flow, folder, tried.raw[0], "cpu") for name in names]


def _compared(
    flow: FlowPolicy, folder: Path, ways: list[Way], tried: Tried, config: DictConfig
) -> dict[str, EndpointDifference]:
    preprocess, _ = load_processors(folder, flow)
    found = endpoint_differences(flow, preprocess, ways, tried, noises=config.noises, seed=config.seed)
    check_parity(found, exact=[ONNX])
    return found


def _torch_ways(asked: list[str], flow: FlowPolicy, folder: Path, tried: Tried, device: str) -> list[Way]:
    """Those that are asked for and can be here; one that torch cannot compile or record is left out, and said."""
    there = flow if device == "cpu" else copy.deepcopy(flow).to(device)
    names = [name for name in asked if name in (EAGER, COMPILED) or (name == GRAPHED and device == "cuda")]
    found = []
    for name in names:
        try:
            way = way_of(name, there, folder, tried.raw[0], device)
            measure_chunks(flow, [way], tried.raw, chunks=1, warmup=0)
        except Exception as error:  # whatever a compiler stumbles over in a policy's code
            if name == EAGER:
                raise
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            warn(
                f"ways: {name} is left out, torch cannot run this policy so ({type(error).__name__}: {line[:200]})"
            )
        else:
            found.append(way)
    return found


@command("export", EXPORT)
def _export(config: DictConfig) -> None:
    with contextlib.redirect_stdout(sys.stderr):  # LeRobot prints while it builds
        done = export(config)
    if config.json:
        print(json.dumps(done.content, indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    for table in export_tables(done.content):
        print_table(table, console)
    print(f"written to {done.folder}")


def main() -> None:
    """Command-line entry."""
    if sys.argv[1:2] == ["relocate"]:
        raise SystemExit(relocate_command(sys.argv[2:]))
    _export()


if __name__ == "__main__":
    main()
