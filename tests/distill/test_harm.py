"""Rules that the ablation shows to be harmful are warned of, with the figure; the others are not."""

import itertools
import re

import pytest

from reflow.distill.harm import UNFIXED, harm_of
from reflow.flow import ActionSpace, EndpointTime, GridTime, PaddingRule, UniformTime

SPACE = ActionSpace(action_dim=14, max_action_dim=32, chunk_size=4)
HARMFUL = {
    ("real", "full", "real"): "deploy gap is 21 and the endpoint error@10 21 %.*keep_target,full_noise",
    ("real", "full", "full"): "deploy gap is 23 and the endpoint error@10 22 %.*full32",
    ("full", "real", "full"): "deploy gap is 10 and the endpoint error@10 22 %.*full32",
}


@pytest.mark.parametrize("answers", itertools.product(("real", "full"), repeat=3))
def test_each_of_the_eight_is_judged(answers: tuple) -> None:
    found = harm_of(PaddingRule(SPACE, *answers), UniformTime())
    if answers == ("real", "real", "real"):
        assert found == UNFIXED
    elif answers in HARMFUL:
        assert re.search(HARMFUL[answers], found)
    else:
        assert found is None


@pytest.mark.parametrize("time", [EndpointTime(), GridTime(1)])
@pytest.mark.parametrize("answers", HARMFUL)
def test_where_only_noise_is_met_no_padding_of_an_endpoint_harms(answers: tuple, time) -> None:
    assert harm_of(PaddingRule(SPACE, *answers), time) is None
    assert harm_of(PaddingRule(SPACE, *answers), GridTime(4)) is not None


def test_without_padding_or_with_an_inert_one_there_is_nothing_to_say() -> None:
    full = ActionSpace(action_dim=32, max_action_dim=32, chunk_size=4)
    assert harm_of(PaddingRule(full, "real", "full", "real"), UniformTime()) is None
    assert harm_of(PaddingRule(SPACE, inert=True), UniformTime()) is None


def test_the_run_prints_it(run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reflow.notices._said", set())
    run("+fix=keep_target", "time=uniform", "trainer.max_steps=1", "callbacks.padding=null")
    assert "warning: Target full and noise real: without noise on it" in capsys.readouterr().err
