"""Every policy as a bundle: it acts in stock LeRobot alone, and its graphs are what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from reflow.bundle.graphs import FOLDER, PREFIX, VELOCITY, file_of, write_graphs
from reflow.bundle.observations import drawn
from reflow.bundle.parity import check_parity, endpoint_differences
from reflow.bundle.proof import acts, prove
from reflow.bundle.ways import ONNX, full_length, way_of
from reflow.bundle.write import Asked, computed_in, write_bundle
from reflow.errors import UserError
from reflow.policies import load_policy, load_processors
from tests.contract.conftest import Subject

WHOLE = ("smolvla", "pi0", "pi05", "multi_task_dit")
"""Whose prefix is one graph, too. The others cut words and pictures into tokens on the way, by what is in them."""
SMALL_STEPS = {"xvla": 2, "multi_task_dit": 4}
"""Steps of a student: xvla takes no more, and many would only take long."""


@pytest.mark.slow
def test_it_acts_alone_and_its_graphs_are_what_it_is(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in subject.case.environment(subject.folder).items():
        monkeypatch.setenv(name, value)
    flow = subject.load()
    kind = flow.config.type
    flow.take_steps(SMALL_STEPS.get(kind, flow.num_steps))
    tried = drawn(flow, subject.folder, 1, "put it down")
    wanted = acts(flow, load_processors(subject.folder, flow)[0], tried)
    asked = Asked(tmp_path / "bundle")
    exact = computed_in(flow, asked, subject.folder) in (None, "float32")
    folder = write_bundle(flow, subject.folder, asked)
    flow = load_policy(folder)
    assert prove(folder, wanted, flow, tried, inside=False, exact=exact).error <= (0.0 if exact else 0.5)

    preprocess, _ = full_length(folder, flow)
    write_graphs(flow, preprocess(dict(tried.raw[0])), folder)
    assert (folder / FOLDER / file_of(VELOCITY)).is_file()
    assert (folder / FOLDER / file_of(PREFIX)).is_file() == (kind in WHOLE)
    way = way_of(ONNX, flow, folder, tried.raw[0], "cpu")
    assert way.halves == (2 if kind in WHOLE else 1)
    found = endpoint_differences(flow, load_processors(folder, flow)[0], [way], tried, noises=2, seed=0)
    check_parity(found, exact=[ONNX])
    print(f"{kind}: {found[ONNX]}")


@pytest.mark.slow
def test_steps_that_are_not_a_solver_s_are_refused(subject: Subject, tmp_path: Path) -> None:
    """X-VLA's own sampler is no Euler where it takes three steps or more: its graphs would end elsewhere."""
    flow = subject.load()
    if flow.integrates:
        return
    flow.num_steps = 3
    folder = write_bundle(flow, subject.folder, Asked(tmp_path / "bundle"))
    flow = load_policy(folder)
    tried = drawn(flow, folder, 1, "put it down")
    preprocess, _ = full_length(folder, flow)
    write_graphs(flow, preprocess(dict(tried.raw[0])), folder)
    way = way_of(ONNX, flow, folder, tried.raw[0], "cpu")
    with pytest.raises(UserError, match="Euler steps through its velocity are not what LeRobot's inference"):
        check_parity(
            endpoint_differences(flow, load_processors(folder, flow)[0], [way], tried, noises=1, seed=0),
            [ONNX],
        )
