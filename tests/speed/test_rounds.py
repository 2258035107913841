"""Contenders in turn, and what is made of their seconds."""

import numpy as np
import pytest
import torch

from reflow.data import ENDPOINT, SAMPLE, VISIT
from reflow.endpoints.source import LiveEndpoints
from reflow.policies import CONTEXT, VISION
from reflow.speed.conditions import Conditions
from reflow.speed.rounds import Timed, interleave, rotation
from reflow.speed.summary import Spread, summarize
from reflow.speed.variants import ALONE, LIMIT, REFERENCE, STORES, draws_of, live
from reflow.speed.workshop import Workshop

NAMES = (REFERENCE, live(1), live(2), *STORES, LIMIT)


@pytest.fixture
def stocked(place, pairs):
    return Workshop(place, Conditions(batch_size=2, draws=2), pairs=pairs)


@pytest.fixture
def records(stocked):
    return list(interleave([stocked.variant(name) for name in NAMES], rounds=2, warmup=1))


def test_every_round_has_every_contender_once_in_another_order(records):
    for number in range(2):
        steps = sorted((record for record in records if record.round == number), key=lambda one: one.place)
        assert [step.variant for step in steps] == rotation(NAMES, number)
    assert rotation(NAMES, 0) != rotation(NAMES, 1)
    assert rotation(NAMES, len(NAMES)) == list(NAMES)


def test_pairs_and_parts_are_those_of_the_step(records):
    pairs = {record.variant: record.pairs for record in records}
    assert pairs == dict(zip(NAMES, (2, 2, 4, 4, 4, 4, 4), strict=True))
    for record in records:
        assert record.seconds == pytest.approx(sum(record.parts.values()))
        asked = {part for part, seconds in record.parts.items() if seconds > 0}
        assert ("teacher" in asked) == (record.variant == REFERENCE or record.variant.startswith("live"))
        assert ("optimizer" in asked) == (record.variant != LIMIT)


def test_a_reference_and_ours_look_at_the_same_observations(workshop):
    reference, ours = workshop.variant(REFERENCE), workshop.variant(live(2))
    for _ in range(3):
        one, other = next(reference.batches), next(ours.batches)
        assert torch.equal(one[SAMPLE], other[SAMPLE])


@pytest.mark.parametrize("name", STORES)
def test_stored_pairs_give_the_loss_of_a_live_teacher_whom_nobody_asks(stocked, name, monkeypatch):
    module, store = stocked.module(2, pool=4), STORES[name]
    monkeypatch.setattr(stocked, "ours", lambda name, module, batches: (module, batches))
    stored_module, batches = stocked.stored(name, 2, store)
    assert (stored_module.objective.draws, stored_module.objective.draw_pool) == (2, 4)
    for step, (batch, live_batch) in enumerate(zip(batches, stocked.data.train_dataloader(), strict=False)):
        assert torch.equal(batch[SAMPLE], live_batch[SAMPLE])
        assert torch.equal(batch[VISIT], live_batch[VISIT])
        wanted = module.training_step(live_batch, 0)["loss"]
        with monkeypatch.context() as patch:
            patch.setattr(LiveEndpoints, "__call__", None)
            found = stored_module.training_step(batch, 0)["loss"]
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)
        assert ENDPOINT in batch
        assert (VISION in batch, CONTEXT in batch) == (store == "vision", store == "prefix")
        assert bool(set(module.teacher.config.image_features) & set(batch)) == (store is None)
        if step == 6:  # the fourth epoch: the pool has come round
            assert batch[VISIT].tolist() == [3, 3]
            break


def test_who_reads_pairs_needs_some(workshop):
    with pytest.raises(ValueError, match="pairs reads a pair cache, and there is none; fill one"):
        workshop.variant("pairs")


def test_ours_trains_the_student_and_leaves_the_teacher(workshop):
    contender = workshop.variant(live(1))
    before = {name: value.clone() for name, value in workshop.teacher.state_dict().items()}
    own = [parameter.clone() for parameter in workshop.training.parameters]
    list(interleave([contender], rounds=2, warmup=0))
    changed = [not torch.equal(a, b) for a, b in zip(own, workshop.training.parameters, strict=True)]
    assert all(torch.equal(value, before[name]) for name, value in workshop.teacher.state_dict().items())
    assert sum(changed) > len(changed) / 2


def test_a_student_alone_trains_without_a_teacher(workshop):
    list(interleave([workshop.variant(ALONE)], rounds=1, warmup=0))
    assert "teacher" not in vars(workshop)


@pytest.mark.parametrize(("rounds", "warmup"), [(0, 1), (1, -1)])
def test_rounds_out_of_range(workshop, rounds, warmup):
    with pytest.raises(ValueError, match=f"rounds={rounds}, warmup={warmup}; allowed: 1 or more"):
        list(interleave([], rounds=rounds, warmup=warmup))


@pytest.mark.parametrize("name", ["live_0", "live", "prefix", "Reference"])
def test_an_unknown_contender_is_refused(name):
    with pytest.raises(ValueError, match=f"variants holds '{name}'; allowed: reference, live_8"):
        draws_of(name, 8)


def made_up():
    """A machine that becomes slower from round to round, for all alike."""
    for number, slowness in enumerate((1.0, 2.0, 10.0)):
        yield Timed(
            REFERENCE, number, 0, 2, 4.0 * slowness, {"data": 1.0 * slowness, "teacher": 3.0 * slowness}
        )
        yield Timed(
            live(4), number, 1, 8, 4.0 * slowness, {"data": 1.0 * slowness, "teacher": 3.0 * slowness}
        )
        yield Timed(
            "pairs", number, 2, 8, 2.0 * slowness, {"data": 1.1 * slowness, "backward": 0.9 * slowness}
        )
        yield Timed(
            "pairs+prefix",
            number,
            3,
            8,
            1.0 * slowness,
            {"data": 0.02 * slowness, "backward": 0.98 * slowness},
        )
        yield Timed(LIMIT, number, 4, 8, 0.9 * slowness, {"backward": 0.9 * slowness})


def test_ratios_are_those_of_one_round_whatever_the_machine_does():
    reference, ours, pairs, prefix, limit = summarize(list(made_up()))
    assert reference.ratio == Spread(1.0, 1.0, 1.0)
    assert ours.ratio == Spread(4.0, 4.0, 4.0)
    assert ours.pairs_per_second.median == 1.0
    assert prefix.ratio.median == pytest.approx(16.0)
    assert prefix.limit_share.median == pytest.approx(0.9)
    assert limit.limit_share.median == 1.0
    assert ours.seconds_per_pair["teacher"] == pytest.approx(0.75)
    assert ours.data_share == 0.25
    assert limit.data_share is None
    assert (reference.cache_overhead, ours.cache_overhead) == (None, None)
    assert pairs.cache_overhead == pytest.approx(0.05)  # the live contender's second of decoding is taken off
    assert prefix.cache_overhead == pytest.approx(0.02)


def test_the_spread_is_the_tenth_and_ninetieth_percentile():
    values = np.random.default_rng(0).random(50)
    spread = Spread.of(values)
    assert (spread.low, spread.median, spread.high) == pytest.approx(np.quantile(values, (0.1, 0.5, 0.9)))


def test_where_parts_were_taken_apart_the_undisturbed_steps_are_compared():
    slow = [
        Timed(one.variant, one.round, one.place, one.pairs, 3 * one.seconds, one.parts) for one in made_up()
    ]
    fast = [Timed(one.variant, one.round, one.place, one.pairs, one.seconds) for one in made_up()]
    standings = summarize([*fast, *slow])
    assert [one.pairs_per_second for one in standings] == [
        one.pairs_per_second for one in summarize(list(made_up()))
    ]
    assert standings[1].seconds_per_pair["teacher"] == pytest.approx(0.75)


def test_without_reference_or_limit_there_is_no_ratio():
    (alone,) = summarize([Timed(live(1), 0, 0, 1, 1.0)])
    assert (alone.ratio, alone.limit_share, alone.data_share, alone.seconds_per_pair) == (
        None,
        None,
        None,
        {},
    )
