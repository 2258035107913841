"""The benchmark as a command."""

import json
import subprocess
import sys

import pytest

from reflow.speed.variants import REFERENCE


def run(*overrides, cwd):
    return subprocess.run(
        [sys.executable, "-m", "reflow.benchmark", *overrides],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_it_leaves_numbers_and_a_figure_in_a_folder_named_by_what_was_measured(tmp_path):
    done = run(
        "size=tiny",
        "variants=[reference,live_2,limit]",
        "rounds=1",
        "memory=false",
        "device=cpu",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "outputs/benchmark/tiny-32-true-cpu"
    content = json.loads((folder / "benchmark.json").read_text())
    assert [standing["variant"] for standing in content["standings"]] == [REFERENCE, "live_2", "limit"]
    assert (folder / "speed.png").stat().st_size > 10_000
    assert "times reference" in done.stdout
    assert "Reducing" not in done.stdout  # LeRobot's own words
    assert str(folder / "benchmark.json") in done.stdout


@pytest.mark.slow
def test_a_race_alone(tmp_path):
    done = run(
        "size=tiny",
        "speed=false",
        "quality=true",
        "race.contenders=[reference,live_2]",
        "race.budget=0.2",
        "run_dir=here",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "here/benchmark.json").read_text())
    assert [entry["variant"] for entry in content["quality"]["contenders"]] == [REFERENCE, "live_2"]
    assert content["hardware"]["versions"]["torch"]
    assert {file.name for file in (tmp_path / "here").iterdir()} == {
        "benchmark.json",
        "benchmark.md",
        "quality.png",
    }
    assert "endpoint error@1" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("size=huge", "error: size=huge; allowed: demo"),
        (
            "latency_ways=[graphed]",
            "error: latency_ways holds graphed with the device cpu; a CUDA graph needs a GPU",
        ),
        ("rounds=0", "error: rounds=0; allowed: 1 or more"),
        ("frames=0", "error: frames=0; allowed: 1 or more"),
        ("device=cuda", "error: device=cuda, but torch sees no GPU here"),
        ("device=tpu", "error: device=tpu; allowed: auto, cpu, cuda"),
        ("matmul_precision=low", "error: matmul_precision=low; allowed: highest, high, medium"),
        ("+fast=1", "error: configuration key fast"),
        ("speed=false", "error: speed=false and quality=false: nothing is left to measure"),
        ("race.every=0", "error: race.every=0; allowed: 1 or more"),
    ],
)
def test_bad_input_ends_with_what_is_allowed_and_leaves_nothing(tmp_path, override, message):
    done = run(override, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
