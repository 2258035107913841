"""What a training run leaves for its report: arrays, words, page, pictures, TensorBoard."""

import html
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from reflow.probes import FlowOfOneObservation
from reflow.probes.padding import SAMPLES
from reflow.reports.folder import content_of_run

Run = Callable[..., dict[str, float]]
FLOW = "callbacks.flow.noises=5"


def test_a_run_leaves_a_report(run: Run, tmp_path: Path) -> None:
    metrics = run("+fix=full32", FLOW)
    folder = tmp_path / "run"

    arrays = load_file(folder / "arrays.safetensors")
    assert arrays["velocity_error/student"].shape == (10, 32)
    assert arrays["histogram/teacher/endpoint/padding"].size <= SAMPLES
    assert arrays["fan/teacher"].shape == (5, 5, 32)  # this teacher takes 4 steps
    assert arrays["fan/student"].shape == (5, 2, 32)
    np.testing.assert_array_equal(arrays["fan/student/times"], [1, 0])
    np.testing.assert_array_equal(arrays["fan/student"][:, 0], arrays["fan/teacher"][:, 0])  # the same noise
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}

    words = json.loads((folder / "report.json").read_text())
    assert words["num_steps"] == 1
    assert words["joint_names"] == [f"joint_{i}" for i in range(14)]
    assert words["commands"][1] == f"python -m reflow.evaluate student.path={folder}"

    content = content_of_run(folder)
    assert content.metrics == metrics
    assert content.verdict.sentence in html.unescape((folder / "report.html").read_text())
    assert "num_steps: 1" in content.configuration
    pictures = {path.stem for path in (folder / "figures").glob("*.png")}
    assert {"endpoint_error", "velocity_error", "padding", "flow"} <= pictures

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    shown = {tag.removeprefix("report/") for tag in events.Tags()["images"]}
    assert shown == pictures


def test_a_finished_run_gets_its_report_back(run: Run, tmp_path: Path) -> None:
    run("+fix=full32")
    report = tmp_path / "run" / "report.html"
    report.unlink()
    run("+fix=full32")
    assert report.is_file()


def test_without_measurements_there_are_no_arrays(run: Run, tmp_path: Path) -> None:
    run("+fix=full32", "callbacks.measure=null", "trainer.max_steps=1")
    assert load_file(tmp_path / "run" / "arrays.safetensors") == {}


def test_one_way_is_no_fan() -> None:
    with pytest.raises(ValueError, match="noises is 1; allowed: 2 or more"):
        FlowOfOneObservation(1)
