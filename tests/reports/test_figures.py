"""Figures: there where their data are, absent where not, and with the data's own numbers in them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from reflow.reports import Content, SuccessRow, Verdict
from reflow.reports.dimensions import dimensions_of
from reflow.reports.figures import FIGURES, draw, matplotlib_figures, write_figures
from reflow.reports.figures.drawing import by_steps, contenders, percent, short, steps_name
from reflow.reports.figures.flow import _middle
from tests.reports.builders import JOINTS, NATIVE, REAL, make_arrays, make_content, make_metrics

EMPTY = Content("nothing", Verdict("nothing"))


def texts(figure: Figure) -> list[str]:
    """Everything that is written in a figure."""
    return [text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))]  # type: ignore[attr-defined]


def test_a_complete_report_has_every_figure_with_its_words() -> None:
    drawn = draw(make_content())
    assert list(drawn) == list(FIGURES)
    for one in drawn.values():
        assert one.reading.endswith(".")
        assert one.good.endswith(".")
        assert one.label.endswith(".")


def test_without_data_there_is_no_figure() -> None:
    assert draw(EMPTY) == {}


NEEDS = {
    "success": "success",
    "latency": "latency",
    "reaction": "reaction/",
    "jumps": "reaction/",
    "endpoint_error": "student/endpoint_error",
    "straightness": "straightness/joint/",
    "distribution": "distribution/",
    "motion": "motion/",
    "joint_motion": "motion/",
    "joint_error": "endpoint_error_joint/student",
    "velocity_error": "velocity_error/student",
    "flow": "fan/",
    "padding": "histogram/",
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_left_out_with_its_own_data_only(name: str) -> None:
    full = make_content()
    need = NEEDS[name]
    if need in ("success", "latency"):
        poorer = replace(full, **{need: ()})
    else:
        poorer = replace(
            full,
            metrics={key: value for key, value in full.metrics.items() if not key.startswith(need)},
            arrays={key: value for key, value in full.arrays.items() if not key.startswith(need)},
        )
    assert FIGURES.keys() - draw(poorer).keys() == {other for other in FIGURES if NEEDS[other] == need}


def test_success_against_latency_is_told_twice_and_the_second_time_by_the_student_s_latency() -> None:
    drawn = draw(make_content())["reaction"]
    same, machine = drawn.figure.axes
    for axes, share in ((same, 1.0), (machine, 22.0 / 79.0)):
        teacher, student = (
            next(line for line in axes.get_lines() if line.get_label() == name)
            for name in ("teacher, 10 steps", "student, 1 step")
        )
        np.testing.assert_allclose(teacher.get_xdata()[1:], [share * ms for ms in (79, 100, 1000)])
        np.testing.assert_allclose(student.get_xdata()[1:], [22, 100, 1000])
        assert teacher.get_xdata()[0] == student.get_xdata()[0] < min(share * 79, 22)  # a world that waits
        np.testing.assert_allclose(teacher.get_ydata(), [0.92, 0.81, 0.78, 0.2])
        diamonds = {line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "D"}
        assert {round(float(x), 6) for x in diamonds} == {round(share * 79, 6), 22.0}
    assert "10 steps 3.59" in drawn.reading
    alone = {
        key: value for key, value in make_metrics().items() if "measured" not in key and "/latency" not in key
    }
    (axes,) = draw(replace(EMPTY, metrics=alone))["reaction"].figure.axes
    assert axes.get_title(loc="left") == "at the same latency"


def test_jumps_are_drawn_at_the_number_of_actions_that_solves_most() -> None:
    metrics = dict(make_metrics())
    names = ("student@1", "student@1-guided", "student@1-trained")
    for place, name in enumerate(names):
        for latency in ("0ms", "100ms"):
            for actions, rate in ((10, 0.6), (50, 0.5)):
                figure = f"reaction/{name}/{latency}/n{actions}"
                metrics |= {figure: rate, f"{figure}/jump": place + actions / 100 + (latency == "100ms") / 10}
    figures = draw(replace(EMPTY, metrics=metrics))
    (axes,) = figures["jumps"].figure.axes
    lines = {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}
    students = ["student, 1 step", "student, 1 step, guided", "student, 1 step, trained"]
    assert list(lines) == ["teacher, 10 steps", *students]
    np.testing.assert_allclose(lines["student, 1 step, trained"].get_ydata(), [2.1, 2.2])
    legend = figures["reaction"].figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == list(lines)
    figures["reaction"].figure.canvas.draw()
    assert legend.get_window_extent().x1 <= figures["reaction"].figure.bbox.x1


def test_png_files(tmp_path: Path) -> None:
    content = replace(EMPTY, metrics=make_metrics(), arrays=make_arrays(one_time=True), joint_names=JOINTS)
    paths = write_figures(content, tmp_path / "figures")
    assert [path.stem for path in paths] == list(matplotlib_figures(content))
    for path in paths:
        image = np.asarray(Image.open(path).convert("L"))
        assert image.shape[1] > 1000
        assert image.max() > 250  # on a light ground
        assert image.min() < 120


def test_endpoint_errors_are_where_they_belong() -> None:
    figure = draw(make_content())["endpoint_error"].figure
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["student"].get_xydata()[:, 1], [0.0832, 0.3217, 0.4220, 0.4624])
    # At its own ten steps the teacher is no distance from itself, which no logarithmic axis shows.
    np.testing.assert_allclose(
        lines["teacher, undistilled"].get_xydata(), [[1, 0.1889], [2, 0.1146], [4, 0.0648]]
    )
    floor = next(line for name, line in lines.items() if str(name).startswith("teacher's own solver error"))
    np.testing.assert_allclose(floor.get_ydata(), 0.04069)
    assert "8.32 %" in texts(figure)


def test_the_border_of_padding_is_drawn_and_joints_are_named() -> None:
    axes = draw(make_content())["velocity_error"].figure.axes[0]
    assert [line.get_ydata()[0] for line in axes.lines] == [REAL - 0.5]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "left waist"
    assert labels[REAL] == f"padding {REAL}"
    assert len(labels) == NATIVE


def test_heat_maps_run_from_noise_to_action() -> None:
    """The array's first bin holds times near 0, the action, and is shown at the right."""
    content = make_content()
    axes = draw(content)["velocity_error"].figure.axes[0]
    assert axes.get_xlim() == (1, 0)
    mesh = axes.collections[0]
    np.testing.assert_allclose(np.ma.getdata(mesh.get_array()), content.arrays["velocity_error/student"].T)
    np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], np.linspace(0, 1, 11))


def test_a_student_of_one_time_gets_bars() -> None:
    content = make_content(one_time=True)
    drawn = draw(content)["velocity_error"]
    axes = drawn.figure.axes[0]
    widths = [bar.get_width() for bar in axes.patches]
    np.testing.assert_allclose(widths, content.arrays["velocity_error/student"][-1])
    assert "t from 0.9 to 1" in drawn.reading


@pytest.mark.parametrize("value", [0.0, 1e-30])
def test_an_error_of_nothing_can_be_drawn(value: float) -> None:
    arrays = {"velocity_error/student": np.full((10, NATIVE), value, dtype=np.float32)}
    assert "velocity_error" in draw(replace(EMPTY, arrays=arrays))


def test_nothing_but_nan_is_no_figure() -> None:
    arrays = {"velocity_error/student": np.full((10, NATIVE), np.nan, dtype=np.float32)}
    assert draw(replace(EMPTY, arrays=arrays)) == {}


def test_the_real_width_is_found_where_it_can_be() -> None:
    arrays = make_arrays()
    assert dimensions_of(make_content(), NATIVE).real == REAL
    joints = {key: value for key, value in arrays.items() if key.startswith("endpoint_error_joint")}
    assert dimensions_of(replace(EMPTY, arrays=joints), NATIVE).real == REAL
    samples = {
        "histogram/student/noise/real": np.zeros(5 * REAL),
        "histogram/student/noise/padding": np.zeros(5 * (NATIVE - REAL)),
    }
    assert dimensions_of(replace(EMPTY, arrays=samples), NATIVE).real == REAL
    thinned = {key: np.zeros(100) for key in samples}  # as many of each tell nothing
    unknown = dimensions_of(replace(EMPTY, arrays=thinned), NATIVE)
    assert unknown.real is None
    assert unknown.names[0] == "dimension 0"


def test_a_robot_without_padding() -> None:
    arrays = {
        key: value[..., :REAL] if key.startswith(("fan/", "velocity_error/")) else value
        for key, value in make_arrays().items()
        if not key.endswith("/times")
    }
    arrays |= {key: value for key, value in make_arrays().items() if key.endswith("/times")}
    arrays = {key: value for key, value in arrays.items() if not key.endswith("/padding")}
    drawn = draw(replace(EMPTY, arrays=arrays, joint_names=JOINTS))
    assert {"flow", "velocity_error", "padding"} <= drawn.keys()
    for one in drawn.values():
        assert not [text for text in texts(one.figure) if text.startswith("padding")]


def test_a_fan_is_coloured_by_where_the_teacher_ends() -> None:
    content = make_content()
    axes = draw(content)["flow"].figure.axes  # teacher's three, then the student's
    ends = content.arrays["fan/teacher"][:, -1, REAL - 1]  # the widest spread is the last joint's
    for panel in (axes[1], axes[4]):
        colors = panel.collections[0].get_colors()
        above = {tuple(color) for color, end in zip(colors, ends, strict=True) if end > 0}
        below = {tuple(color) for color, end in zip(colors, ends, strict=True) if end < 0}
        assert len(above) == len(below) == 1
        assert above != below


def test_other_noises_are_not_coloured_alike() -> None:
    arrays = make_arrays()
    arrays["fan/student"] = arrays["fan/student"] + 1
    axes = draw(replace(EMPTY, arrays=arrays))["flow"].figure.axes
    assert len(np.unique(axes[0].collections[0].get_colors(), axis=0)) == 1


def test_two_ways_are_told_apart_in_their_middle() -> None:
    ends = np.array([[-1.0], [-1.2], [-0.9], [0.7], [0.8]])
    np.testing.assert_allclose(_middle(ends), [(-0.9 + 0.7) / 2])
    np.testing.assert_allclose(_middle(ends[:1]), [-1.0])


def test_intervals_of_success() -> None:
    rows = (
        SuccessRow("teacher", 10, 200, 180, 0.85, 0.93, 1, 1),
        SuccessRow("student", 1, 200, 170, 0.79, 0.89, 1, 1),
    )
    axes = draw(replace(EMPTY, success=rows))["success"].figure.axes[0]
    spans = [line.get_xdata() for line in axes.lines]
    np.testing.assert_allclose(spans[0], [0.85, 0.93])
    np.testing.assert_allclose(spans[1], [0.9])
    np.testing.assert_allclose(spans[2], [0.79, 0.89])
    assert "85.0 % of 200" in texts(axes.figure)


def test_unbiased_distances_may_be_negative() -> None:
    metrics = {"distribution/mmd@1": 0.001, "distribution/mmd_null": -0.0004}
    axes = draw(replace(EMPTY, metrics=metrics))["distribution"].figure.axes[0]
    assert axes.get_xlim()[0] < -0.0004


def test_words_and_numbers() -> None:
    assert by_steps({"a@10": 1.0, "a@2": 2.0, "a@1/low": 3.0, "ba@1": 4.0}, "a") == {2: 2.0, 10: 1.0}
    names = ["student@1", "teacher@1", "student@10", "teacher@10", "student@1_vs_teacher@1"]
    assert contenders(names) == ["teacher@10", "teacher@1", "student@10", "student@1"]
    assert [steps_name(name) for name in ("student@1", "teacher@10")] == [
        "student, 1 step",
        "teacher, 10 steps",
    ]
    assert [percent(value) for value in (0.0832, 0.0996, 1.0, 0.0)] == [
        "8.32 %",
        "10.0 %",
        "100.0 %",
        "0.00 %",
    ]
    shown = [short(value) for value in (0.0, 0.00271, 0.9, 42.04, 1234.5, 3.2e-7, -0.5, float("nan"))]
    assert shown == ["0", "0.00271", "0.900", "42.0", "1,234", "3.20e-07", "-0.500", "nan"]
