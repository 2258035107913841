"""Folding over seeds, pooling of successes, what is best, how it is shown."""

import csv
import io
from dataclasses import replace
from typing import Any

import pytest

from reflow.errors import UserError
from reflow.metrics import wilson_interval
from reflow.reports.compare import Run, compare
from reflow.reports.compared_metrics import direction, is_percent
from reflow.reports.comparison_figure import comparison_figure
from reflow.reports.comparison_page import page
from reflow.reports.comparison_table import csv_text, markdown, value_text
from reflow.reports.curves import Curve, name_after
from reflow.reports.curves_figure import curves_figure
from reflow.reports.equal_seconds import errors_after, fewest_seconds, with_errors_after
from reflow.reports.template import Picture

LOSS, ERROR, SUCCESS = "deploy/loss", "student/endpoint_error@1", "success/student@1"


def made(
    seed: int, loss: float, *, name: str = "", success: tuple[float, int] | None = None, **settings: Any
) -> Run:
    settings = {"teacher": "embedded", "fix": "full32"} | settings
    metrics = {LOSS: loss, ERROR: loss / 2}
    if success is not None:
        metrics |= {SUCCESS: success[0], f"{SUCCESS}/episodes": float(success[1])}
    return Run(name or f"{settings}{seed}", seed, settings, metrics)


def table(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split(" |")]
        for line in text.splitlines()
        if line[:1] == "|"
    ]


def test_seeds_fold_into_mean_and_sample_deviation() -> None:
    found = compare([made(2, 0.3), made(0, 0.1), made(1, 0.2)])
    (row,) = found.rows
    assert [run.seed for run in row.runs] == [0, 1, 2]
    assert row.values[LOSS].mean == pytest.approx(0.2)
    assert row.values[LOSS].spread == pytest.approx(0.1)  # of the sample: n - 1
    assert table(markdown(found))[2] == ["embedded", "full32", "3", "0.2000 ± 0.1000", "10.00 ± 5.00"]


def test_one_seed_has_no_deviation() -> None:
    found = compare([made(0, 0.1)])
    assert found.rows[0].values[LOSS].spread is None
    assert "±" not in markdown(found)


def test_columns_are_the_settings_that_differ() -> None:
    found = compare([made(0, 1.0, lr=0.1, steps=5), made(0, 2.0, lr=0.2, steps=5), made(0, 3.0, steps=5)])
    assert found.keys == ("lr",)
    assert found.shared == {"teacher": "embedded", "fix": "full32"}
    assert [line[0] for line in table(markdown(found))] == ["lr", "---", "–", "0.1", "0.2"]  # noqa: RUF001
    assert "All rows: teacher embedded, fix full32." in markdown(found)


def test_a_run_from_before_a_key_was_there_is_one_where_it_is_null() -> None:
    (row,) = compare([made(0, 1.0), made(1, 2.0, muon_lr=None)]).rows
    assert [run.seed for run in row.runs] == [0, 1]


def test_what_a_method_is_made_of_is_told_by_its_name() -> None:
    runs = [
        made(0, 1.0, method="endpoint", draws=2, lr=0.1),
        made(0, 2.0, method="drifting", draws=4, lr=0.1),
        made(0, 3.0, method="drifting", draws=4, lr=0.2),
    ]
    assert compare(runs[:2]).keys == ("method",)
    assert compare(runs).keys == ("method", "lr")  # two rows of one method differ in it
    assert compare([*runs, made(0, 4.0, draws=8, lr=0.1)]).keys == (
        "method",
        "draws",
        "lr",
    )  # one has no name


def with_curve(seconds: tuple[float, ...], values: tuple[float, ...], **settings: Any) -> Run:
    steps = tuple(range(100, 100 * len(values) + 1, 100))
    return replace(made(0, 2 * values[-1], **settings), curves={ERROR: Curve(steps, seconds, values)})


def test_errors_at_equal_seconds_stand_beside_the_last_ones() -> None:
    fast = with_curve((10.0, 20.0, 40.6), (0.4, 0.3, 0.2), method="fast")
    slow = with_curve((30.0, 60.0, 90.0), (0.5, 0.2, 0.1), method="slow")
    assert fewest_seconds([fast, slow]) == 40.0  # of the fast one, cut to whole ones
    after = name_after(ERROR, 40.0)
    found = compare(with_errors_after([fast, slow], 40.0), [ERROR, LOSS], after=40.0)
    assert found.metrics == (ERROR, after, LOSS)
    assert [row.values[after].mean for row in found.rows] == pytest.approx(
        [0.3 - 0.1 * 20.0 / 20.6, 0.5 - 0.3 * 10.0 / 30.0]
    )
    assert [row.settings["method"] for row in found.best(ERROR)] == ["slow"]
    assert [row.settings["method"] for row in found.best(after)] == ["fast"]
    assert f"{ERROR} after 40 s (%) ↓" in markdown(found)
    assert curves_figure(found) is not None
    assert curves_figure(compare([made(0, 1.0)])) is None


def test_a_time_at_which_nothing_was_measured_is_no_figure() -> None:
    run = with_curve((10.0, 20.0), (0.4, 0.3))
    assert errors_after(run.curves, 9.0) == errors_after(run.curves, 21.0) == {}
    with pytest.raises(UserError, match="after=9: no run was measured before and after"):
        with_errors_after([run], 9.0)
    with pytest.raises(UserError, match=r"after=equal: none .*logger\.csv"):
        fewest_seconds([made(0, 1.0)])


def test_rows_are_sorted_by_teacher_then_fix() -> None:
    fixes = ["valid14", "full32", "full_noise+full_loss", "full_noise+keep_target", "keep_target+full_loss"]
    fixes += ["full_noise", "full_loss", "keep_target", "unfixed"]
    found = compare([made(0, 1.0, teacher=name, fix=fix) for name in ("two", "one") for fix in fixes])
    order = [*fixes[:4:-1], *fixes[4:1:-1], "full32", "valid14"]
    expected = [(name, fix) for name in ("one", "two") for fix in order]
    assert [(row.settings["teacher"], row.settings["fix"]) for row in found.rows] == expected


def test_numbers_are_sorted_as_numbers() -> None:
    found = compare([made(0, 1.0, steps=steps) for steps in (1000, 200, 50)])
    assert [row.settings["steps"] for row in found.rows] == [50, 200, 1000]


def test_successes_are_pooled_over_episodes() -> None:
    found = compare([made(0, 1.0, success=(0.5, 10)), made(1, 1.0, success=(0.9, 30))])
    value = found.rows[0].values[SUCCESS]
    assert value.mean == 32 / 40  # not the mean of the rates, 0.7
    assert value.interval == wilson_interval(32, 40)
    low, high = (100 * end for end in wilson_interval(32, 40))
    assert f"80.0 [{low:.1f}, {high:.1f}] of 40" in markdown(found)
    assert any("interval" in note for note in found.notes)


def test_success_without_a_number_of_episodes_has_no_interval() -> None:
    runs = [
        Run("a", 0, {"teacher": "t", "fix": "f"}, {SUCCESS: 0.5}),
        made(1, 1.0, teacher="t", fix="f", success=(1, 9)),
    ]
    value = compare(runs).rows[0].values[SUCCESS]
    assert (value.mean, value.interval, value.episodes) == (0.75, None, 0)


def test_a_metric_that_only_some_seeds_have_says_so() -> None:
    found = compare([made(0, 1.0, success=(0.5, 10)), made(1, 1.0)])
    assert table(markdown(found))[2][-1].endswith("of 10 (1 of 2 seeds)")
    assert value_text(LOSS, None, 2) == "–"  # noqa: RUF001


def test_best_is_bold_within_each_teacher_in_the_direction_that_is_better() -> None:
    found = compare(
        [
            made(0, 0.1, teacher="one", fix="unfixed", success=(0.2, 10)),
            made(0, 0.2, teacher="one", success=(0.9, 10)),
            made(0, 0.4, teacher="two", fix="unfixed", success=(0.8, 10)),
            made(0, 0.3, teacher="two", success=(0.7, 10)),
            made(0, 0.01, teacher="three"),
        ]
    )
    bold = {
        (*line[:2], line[3].startswith("**"), line[5].startswith("**")) for line in table(markdown(found))[2:]
    }
    assert bold == {
        ("one", "unfixed", True, False),
        ("one", "full32", False, True),
        ("two", "unfixed", False, True),
        ("two", "full32", True, False),
        ("three", "full32", False, False),  # alone: the best of nothing
    }


def test_the_training_loss_is_best_only_among_rows_of_one_fix() -> None:
    def losing(loss: float, **settings: Any) -> Run:
        settings = {"teacher": "t", "fix": "full32"} | settings
        return Run(str(loss), 0, settings, {"train/loss": loss})

    across = compare([losing(0.1), losing(0.2, fix="unfixed")])
    assert across.best("train/loss") == ()
    assert any(note.startswith("train/loss: over the dimensions") for note in across.notes)
    within = compare([losing(0.1, lr=1), losing(0.2, lr=2)])
    assert within.best("train/loss") == (within.rows[0],)


def test_a_diverged_run_is_never_best() -> None:
    found = compare([made(0, float("nan"), fix="unfixed"), made(0, 0.2), made(0, 0.3, fix="valid14")])
    assert [row.settings["fix"] for row in found.best(LOSS)] == ["full32"]
    assert comparison_figure(found)


def test_the_same_run_twice_is_no_second_seed() -> None:
    found = compare([made(0, 0.1, name="a"), made(0, 0.1, name="copy")])
    assert [run.name for run in found.rows[0].runs] == ["a"]
    assert any("copy is left out" in note for note in found.notes)


def test_metrics_as_asked_in_their_order() -> None:
    assert compare([made(0, 0.1)], [ERROR, LOSS]).metrics == (ERROR, LOSS)


def test_default_metrics_are_those_there_and_success_by_steps() -> None:
    run = Run(
        "a",
        0,
        {},
        {f"success/student@{n}": 1.0 for n in (10, 2, 1)} | {ERROR: 1.0, "success/teacher@10": 1.0},
    )
    assert compare([run]).metrics == (ERROR, *(f"success/student@{n}" for n in (1, 2, 10)))


def test_unknown_metric_names_close_ones() -> None:
    with pytest.raises(ValueError, match=r"metrics: no run has 'deploy/los'; close: deploy/loss"):
        compare([made(0, 0.1)], ["deploy/los"])
    with pytest.raises(ValueError, match=r"no run has 'xyzzy'; they begin with: deploy, student"):
        compare([made(0, 0.1)], ["xyzzy"])


def test_no_runs() -> None:
    with pytest.raises(ValueError, match="runs is empty; give at least one"):
        compare([])


@pytest.mark.parametrize(
    ("metric", "better", "percent"),
    [
        (SUCCESS, "higher", True),
        (f"{SUCCESS}/length", None, False),
        ("student/endpoint_error_to_reference@4", "lower", True),
        ("student/endpoint_rmse_physical@1/waist", "lower", False),
        ("teacher/solver_error", None, True),
        ("velocity/relative_error", "lower", True),
        ("distribution/mmd@1_null", None, False),
        ("padding/teacher/endpoint_mean", None, False),
    ],
)
def test_kinds_of_metrics(metric: str, better: str | None, percent: bool) -> None:
    assert (direction(metric), is_percent(metric)) == (better, percent)


def test_csv_holds_raw_numbers_of_every_run() -> None:
    found = compare([made(1, 0.1 + 0.2, name="b", success=(0.5, 10)), made(0, 0.1, name="a", lr=3)])
    lines = list(csv.DictReader(io.StringIO(csv_text(found))))
    assert [(line["run"], line["seed"], line["fix"], line["lr"]) for line in lines] == [
        ("b", "1", "full32", ""),
        ("a", "0", "full32", "3"),
    ]
    assert float(lines[0][LOSS]) == 0.1 + 0.2
    assert lines[0][f"{SUCCESS}/episodes"] == "10.0"
    assert lines[1][SUCCESS] == ""


@pytest.mark.parametrize(
    ("loss", "spread", "text"), [(1234.5, 2.0, "1234 ± 2"), (3e-7, 1e-8, "3e-07 ± 1e-08")]
)
def test_four_significant_digits(loss: float, spread: float, text: str) -> None:
    assert (
        markdown(compare([made(0, loss - spread / 2**0.5), made(1, loss + spread / 2**0.5)])).count(
            f"| {text} |"
        )
        == 1
    )


def test_figure_has_a_panel_per_metric_and_a_label_per_row() -> None:
    runs = [made(s, 0.1 + s, teacher=t, fix=f) for t in "ab" for f in ("unfixed", "full32") for s in (0, 1)]
    figure = comparison_figure(compare(runs))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == [f"{LOSS} ↓", f"{ERROR}, % ↓"]
    labels = [label.get_text() for label in panels[0].get_yticklabels()]
    assert labels == ["teacher: a", "unfixed", "full32", "teacher: b", "unfixed", "full32"]
    points = [line.get_xdata() for line in panels[1].lines if line.get_marker() == "o"]
    assert [sorted(map(float, data)) for data in points] == [pytest.approx([5.0, 55.0])] * 4


def test_page_escapes_and_needs_nothing_else() -> None:
    text = page(compare([made(0, 0.1, fix="<b>"), made(0, 0.2)]), [Picture("<svg></svg>", "", "")])
    assert "&lt;b&gt;" in text
    assert "prefers-color-scheme: dark" in text
    assert "http" not in text
    assert text.count("<tr") == 3
