"""Time to quality: the race is fair, its clock and its measure are what they say."""

import itertools
import json

import pytest
import torch

from reflow.data import SAMPLE
from reflow.flow import Draws
from reflow.probes.observations import HELD_OUT
from reflow.reports.figures.speed import draw_quality
from reflow.reports.theme import drawing, palette, themed_svg
from reflow.speed.conditions import Conditions
from reflow.speed.quality import OUR_TIMES, Point, QualitySettings, Racer, contender, time_to
from reflow.speed.race import endpoint_error, held_out_chunks, race
from reflow.speed.show import print_race
from reflow.speed.stopwatch import Stopwatch
from reflow.speed.variants import REFERENCE, live
from reflow.speed.workshop import Workshop

CONTENDERS = (REFERENCE, OUR_TIMES, "live_1", "live_2", "pairs_2", "pairs+prefix_1")


@pytest.fixture(scope="module")
def quality(place, pairs):
    settings = QualitySettings(
        CONTENDERS, goals=(0.5, 0.001), budget=0.6, every=2, size=4, pool=4, held_out=2, held_out_draws=2
    )
    return json.loads(json.dumps(race(place, settings, pairs=pairs, velocity="stock"), allow_nan=False))


def test_every_contender_starts_where_every_other_does_and_spends_its_budget(quality):
    entries = quality["contenders"]
    assert [entry["variant"] for entry in entries] == list(CONTENDERS)
    assert [entry["curve"][0]["error"] for entry in entries] == pytest.approx(
        [entries[0]["curve"][0]["error"]] * len(entries), rel=1e-6
    )  # the reference asks stock LeRobot, ours the same over one prefix
    for entry in entries:
        curve = entry["curve"]
        assert curve[0]["step"] == curve[0]["seconds"] == curve[0]["pairs"] == 0
        assert curve[-1]["seconds"] >= 0.6
        assert curve[-2]["seconds"] < 0.6
        assert all(later["seconds"] > point["seconds"] for point, later in itertools.pairwise(curve))
        assert len({point["error"] for point in curve}) > 1


def test_pairs_per_step_are_constant(quality):
    for entry in quality["contenders"]:
        assert entry["observations"] * entry["draws"] == 4
        assert all(point["pairs"] == 4 * point["step"] for point in entry["curve"])


def test_the_time_of_filling_is_told_apart_and_added(quality):
    for entry in quality["contenders"]:
        assert (entry["fill_seconds"] is not None) == entry["variant"].startswith("pairs")
        fill = entry["fill_seconds"] or 0.0
        assert entry["seconds_to"]["0.001"] is entry["seconds_to_with_fill"]["0.001"] is None
        assert entry["seconds_to"]["0.5"] is not None
        assert entry["seconds_to_with_fill"]["0.5"] == entry["seconds_to"]["0.5"] + fill


def test_table_and_figure_hold_every_contender(quality, capsys):
    print_race(quality)
    text = capsys.readouterr().out
    with drawing():
        drawn = draw_quality(quality)
        svg = themed_svg(drawn.figure, "quality", drawn.label)
    for word in ("reference our times", "live K=2", "pairs K=2", "pairs+prefix K=1", "not reached"):
        assert word in text
        assert word in drawn.label
    assert not [colour for colour in palette() if colour in svg]


def test_the_error_is_that_of_one_student_step_against_the_teacher_as_deployed(workshop):
    chunks = held_out_chunks(workshop.teacher, workshop.data, observations=2, draws=3, seed=5)
    (batch,) = workshop.data.val_dataloader()
    noise = Draws(5).noise(batch[SAMPLE], HELD_OUT + torch.arange(3).expand(2, 3), (8, 32))
    with torch.no_grad():
        wanted = workshop.teacher.walk(workshop.teacher.encode(batch), noise, 10)[..., :14]
        end = workshop.student.walk(workshop.student.encode(batch), noise, 1)[..., :14]
    error = ((end - wanted).flatten(2).norm(dim=2) / wanted.flatten(2).norm(dim=2)).mean().item()
    assert endpoint_error(workshop.student, chunks) == pytest.approx(error, rel=1e-5)


def test_no_more_observations_are_measured_than_asked_for(workshop):
    (seen,) = held_out_chunks(workshop.teacher, workshop.data, observations=1, draws=2, seed=0)
    assert seen.randn.shape[:2] == seen.endpoint.shape[:2] == (1, 2)


def test_contenders_share_a_teacher_and_no_student(place):
    first = Workshop(place, Conditions(2))
    one, other = (Workshop(place, Conditions(size), beside=first) for size in (1, 2))
    assert one.teacher is other.teacher is first.teacher
    mine = {parameter.data_ptr() for parameter in one.training.parameters}
    assert mine.isdisjoint(parameter.data_ptr() for parameter in other.training.parameters)
    sizes = [len(next(iter(shop.data.train_dataloader()))[SAMPLE]) for shop in (one, other)]
    assert sizes == [1, 2]


def test_a_contender_stops_in_the_middle_when_its_budget_is_spent(workshop):
    racer = Racer(workshop.variant(live(1)), workshop.student, curve=[Point(1.0, 7, 14, 0.5)])
    assert racer.run(5, 1.0, Stopwatch()) == (1.0, 7)
    seconds, step = racer.run(5, 1.0 + 1e-9, Stopwatch())
    assert (seconds > 1.0, step) == (True, 8)


def test_the_time_to_a_goal_lies_between_the_measurements():
    curve = [Point(0, 0, 0, 0.8), Point(10, 1, 1, 0.4), Point(20, 2, 2, 0.1)]
    assert time_to(curve, 0.9) == 0
    assert time_to(curve, 0.4) == pytest.approx(10)
    assert time_to(curve, 0.2) == pytest.approx(15)
    assert time_to(curve, 0.05) is None


def test_only_a_prefix_that_somebody_reads_is_stored():
    assert QualitySettings().stores == {"prefix"}
    assert QualitySettings(contenders=("live_2", "pairs_2")).stores == set()
    assert not QualitySettings(contenders=("live_2",)).reads_pairs


def test_observations_per_step():
    assert [QualitySettings().observations(draws) for draws in (1, 4, 16, 32)] == [16, 4, 1, 1]
    assert QualitySettings(constant="observations").observations(8) == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"every": 0}, "race.every=0; allowed: 1 or more"),
        ({"budget": 0.0}, "race.budget=0.0; allowed: above 0"),
        ({"lr": -1.0}, "race.lr=-1.0; allowed: above 0"),
        ({"ema": 1.0}, "race.ema=1.0; allowed: from 0 up to"),
        ({"warmup_steps": -1}, "race.warmup_steps=-1; allowed: 0 or more"),
        ({"goals": ()}, r"race.goals=\[\]; allowed: endpoint errors between 0 and 1"),
        ({"goals": (20.0,)}, r"race.goals=\[20.0\]; allowed"),
        ({"constant": "time"}, "race.constant=time; allowed: pairs, observations"),
        ({"reference_padding": "auto"}, "race.reference_padding=auto; allowed: real, full"),
        ({"contenders": ()}, r"race.contenders=\[\]; allowed: one or more"),
        ({"contenders": ("live_2", "live_2")}, "each once"),
        ({"contenders": ("pairs_9",)}, "race.contenders holds pairs_9, race.pool=8; allowed: at most"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(ValueError, match=message):
        QualitySettings(**change)


def test_an_unknown_contender_is_refused():
    assert contender("pairs+prefix_3") == ("pairs+prefix", 3)
    with pytest.raises(
        ValueError, match=r"race.contenders holds 'pairs'; allowed: reference, reference_our_times"
    ):
        contender("pairs")
