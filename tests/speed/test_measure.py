"""The whole measurement of the tiny size: complete, and recomputable from its raw rounds."""

import io
import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from lerobot.utils.constants import OBS_STATE
from rich.console import Console

from reflow.reports.figures.speed import draw_speed
from reflow.reports.theme import color, drawing, palette, themed_svg
from reflow.speed.conditions import Conditions
from reflow.speed.disk import fill_pairs
from reflow.speed.geometry import GEOMETRIES
from reflow.speed.hardware import count_flops, peak_flops
from reflow.speed.latency import compare_velocities, deployed_latency
from reflow.speed.measure import SpeedSettings, measure
from reflow.speed.memory import measure_here, peak_alone
from reflow.speed.show import memory_ratios, print_findings
from reflow.speed.training import Training, autocast
from reflow.speed.variants import ALONE, LIMIT, REFERENCE, live

VARIANTS = (REFERENCE, live(2), "pairs+prefix", LIMIT)


@pytest.fixture(scope="module")
def content(place, pairs):
    settings = SpeedSettings(
        VARIANTS,
        rounds=2,
        warmup=0,
        batch_size=2,
        draws=2,
        latency_repeats=2,
        velocity_repeats=1,
        memory=False,
    )
    found = measure(GEOMETRIES["tiny"], place, settings, "cpu", pairs)
    return json.loads(json.dumps({"size": "tiny", **found}, allow_nan=False))


def test_ratios_can_be_computed_again_from_the_raw_rounds(content):
    for standing in content["standings"]:
        steps = {step["round"]: step for step in content["rounds"] if step["variant"] == standing["variant"]}
        reference = {step["round"]: step for step in content["rounds"] if step["variant"] == REFERENCE}
        ratios = [
            steps[number]["pairs"] / steps[number]["seconds"] * other["seconds"] / other["pairs"]
            for number, other in reference.items()
        ]
        assert standing["ratio"]["median"] == pytest.approx(np.median(ratios))


def test_everything_that_was_asked_for_is_there(content):
    assert [standing["variant"] for standing in content["standings"]] == list(VARIANTS)
    assert len(content["rounds"]) == 2 * len(VARIANTS)
    assert {"processor", "cores", "threads", "versions", "matmul_precision"} <= set(content["hardware"])
    assert [row["nfe"] for row in content["latency"]["rows"]] == [10, 1]
    assert content["latency"]["over_floor"]["median"] > 0
    assert [cost["by"] for cost in content["velocities"]] == ["stock", "shared"]
    assert content["velocities"][0]["relative_difference"] == 0
    assert 0 < content["velocities"][1]["relative_difference"] < 2e-6
    assert content["settings"]["draws"] == 2


def test_the_tables_hold_every_contender(content):
    console = Console(file=io.StringIO(), width=120)
    print_findings(content, console)
    text = console.file.getvalue()
    for word in (
        "reference",
        "live K=2",
        "pairs+prefix",
        "limit",
        "student, stock LeRobot",
        "shared",
        "ms per pair",
    ):
        assert word in text
    assert "…" not in text


def test_the_figure_is_drawn_in_the_roles_of_the_theme_so_that_it_follows_a_dark_page(content):
    with drawing():
        drawn = draw_speed(content)
        svg = themed_svg(drawn.figure, "speed", drawn.label)
    assert "live K=2" in drawn.label
    assert not [colour for colour in palette() if colour in svg]
    assert color("student") not in svg
    for role in ("student", "teacher", "noise"):
        assert f"var(--{role})" in svg


def test_the_figure_does_without_parts(content):
    without = [{**standing, "seconds_per_pair": {}} for standing in content["standings"]]
    with drawing():
        assert draw_speed({**content, "standings": without}).figure.axes


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own(place):
    peaks = [peak_alone(place, Conditions(2, 2), name).as_json() for name in (live(2), ALONE)]
    assert all(peak["process"] >= peak["training"] > 50e6 for peak in peaks)
    ratios = memory_ratios({"memory": peaks})
    assert ratios[ALONE] == 1
    assert 0.8 < ratios[live(2)] < 1.3


def test_memory_is_measured_after_loading(place):
    threads = torch.get_num_threads()
    question = {
        "place": asdict(place),
        "conditions": {"batch_size": 1, "draws": 1},
        "variant": live(1),
        "pairs": None,
        "steps": 1,
        "threads": threads,
        "matmul_precision": "highest",
    }
    peak = measure_here(question)
    assert peak.variant == live(1)
    assert peak.gpu is None
    assert peak.compared == peak.training


@pytest.mark.slow
def test_a_process_that_fails_says_why(place):
    with pytest.raises(
        ValueError, match=r"memory of 'nonsense' failed with exit code 1: .*allowed: reference"
    ):
        peak_alone(place, Conditions(1, 1), "nonsense")


@pytest.mark.slow
def test_a_cache_that_cannot_be_filled_says_why(place, tmp_path):
    with pytest.raises(ValueError, match=r"filling the pair cache failed with exit code 2: .*velocity=quick"):
        fill_pairs(
            place,
            tmp_path / "pairs",
            draws=2,
            stores=(),
            batch_size=2,
            precision="32-true",
            velocity="quick",
            device="cpu",
            seed=0,
        )


def test_velocities_are_compared_on_the_same_points_and_the_student_is_as_before(workshop):
    student = workshop.student
    batch = next(iter(workshop.data.train_dataloader()))
    with torch.no_grad():
        context = student.encode(batch)
    costs = compare_velocities(
        student,
        context,
        ("shared",),
        draws=3,
        observations=2,
        repeats=1,
        autocast=lambda: autocast("32-true", "cpu"),
    )
    assert (costs[0].by, costs[0].draws) == ("shared", 3)
    assert all(parameter.grad is None for parameter in student.parameters())


def test_latency_leaves_the_students_steps_as_they_were(workshop):
    student = workshop.student
    student.num_steps = 4
    batch = next(iter(workshop.data.train_dataloader()))
    one = workshop.teacher.rows(batch, len(batch[OBS_STATE]), 1)
    assert len(one["observation.state"]) == 1
    deployed_latency(workshop.teacher, student, one, repeats=1, warmup=0)
    assert student.num_steps == 4


def test_half_precision_is_that_of_both_loops(place):
    settings = SpeedSettings(
        (REFERENCE, live(2)),
        rounds=1,
        warmup=0,
        batch_size=1,
        precision="bf16-mixed",
        latency_repeats=0,
        velocity_repeats=0,
        memory=False,
    )
    found = measure(GEOMETRIES["tiny"], place, settings, "cpu")
    assert len(found["rounds"]) == 2
    with autocast("bf16-mixed", "cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_operations_are_counted(workshop):
    one, two = (count_flops(workshop.variant(live(draws))) for draws in (1, 2))
    assert 0 < one < two < 2 * one  # the prefix is paid for once


@pytest.mark.parametrize(
    ("gpu", "precision", "wanted"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16-mixed", 989e12),
        ("NVIDIA A100-SXM4-40GB", "32-true", 19.5e12),
        ("Tesla T4", "bf16-mixed", None),
        ("Abacus", "32-true", None),
    ],
)
def test_peaks_are_known_by_name(gpu, precision, wanted):
    assert peak_flops(gpu, precision) == wanted


def test_the_learning_rate_rises_and_stays(workshop):
    training = Training(workshop.student, warmup_steps=3, lr=1e-3)
    rates = []
    for _ in range(6):
        rates.append(training.optimizer.param_groups[0]["lr"])
        training.optimizer.step()
        training.schedule.step()
    assert rates == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3, 1e-3, 1e-3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "rounds=0; allowed: 1 or more"),
        ({"batch_size": 0}, "batch_size=0; allowed: 1 or more"),
        ({"latency_repeats": -1}, "latency_repeats=-1; allowed: 0 or more"),
        ({"precision": "16"}, "precision=16; allowed: 32-true, bf16-mixed"),
        ({"variants": (live(1),)}, r"variants=\['live_1'\]; allowed: each once, and reference among them"),
        ({"variants": (REFERENCE, REFERENCE)}, "allowed: each once"),
        ({"variants": (REFERENCE, "live")}, "variants holds 'live'"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(ValueError, match=message):
        SpeedSettings(**change)


def test_precision_is_checked_where_it_is_used():
    with pytest.raises(ValueError, match="precision=half; allowed: 32-true, bf16-mixed"):
        autocast("half", "cpu")


def test_the_average_is_that_of_a_training_run_and_the_weights_come_back(workshop):
    training = Training(workshop.student, decay=0.5)
    name, parameter = next(one for one in workshop.student.named_parameters() if one[1].requires_grad)
    found = []
    for value in (1.0, 2.0, 4.0):
        parameter.data.fill_(value)
        training.average.update(workshop.student)
        delivered = dict(training.delivered.named_parameters())[name]
        found.append(delivered.flatten()[0].item())
        assert parameter.data.flatten()[0].item() == value
    kept_1, kept_2 = 2 / 11, 3 / 12
    second = kept_1 * 1 + (1 - kept_1) * 2
    assert found == pytest.approx([1, second, kept_2 * second + (1 - kept_2) * 4])
