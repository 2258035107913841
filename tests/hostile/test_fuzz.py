"""Readers of what is exchanged, given anything: what they cannot use is a `UserError`, never another exception.

What goes on at length, or asks for memory by the gigabyte, is killed by hypothesis' deadline or by the machine.
"""

import copy
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from reflow.config.curves import read_curves
from reflow.config.evaluate import check_given
from reflow.config.evaluations import read_evaluations
from reflow.config.origin import DataOrigin, Origin, TeacherOrigin, read_origin
from reflow.config.run_folder import RunFolder
from reflow.config.runs import read_runs
from reflow.data import load_metadata
from reflow.endpoints import Manifest
from reflow.endpoints.shards import inspect, read_seal
from reflow.errors import UserError
from reflow.evaluation.plan import plan_in
from reflow.evaluation.result_folder import ResultFolder
from reflow.evaluation.simulator_settings import SimulatorSettings
from reflow.files import json_in, read_metrics
from reflow.policies import FlowPolicy, find_folder, load_policy, load_processors
from reflow.policies.steps import check_steps
from reflow.policies.weights import check_weights
from reflow.reports.compare import compare
from reflow.reports.folder import content_of_run, load_arrays, report_on
from reflow.simulator.journal import Journal, read_episodes
from tests.endpoints.test_identity import MANIFEST
from tests.hostile.scene import safetensors

few = settings(
    max_examples=40,
    deadline=timedelta(seconds=10),
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=(Phase.generate,),  # a first example that fails says enough
)
numbers = st.integers(-(10**25), 10**25) | st.integers(-2, 20) | st.floats()
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in JSON, inside as well."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield (*at, key)
        yield from places(one, (*at, key))


@st.composite
def like(draw: Callable[..., Any], whole: Any) -> Any:
    """Anything; or what is whole, but for one value or two."""
    if draw(st.integers(0, 9)) == 0:
        return draw(anything)
    changed = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(list(places(changed)) or [(None,)]))
        inside = changed
        for key in way:
            inside = inside[key]
        if draw(st.integers(0, 4)) == 0 and isinstance(inside, dict):
            del inside[last]
        elif last is not None:
            inside[last] = draw(anything)
    return changed


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def written(manifest: Manifest) -> Any:
    with tempfile.TemporaryDirectory() as scratch:
        manifest.write(Path(scratch))
        return json.loads(Path(scratch, "manifest.json").read_text())


@few
@given(content=like(written(MANIFEST)))
def test_manifests(here: Path, content: Any) -> None:
    (here / "manifest.json").write_text(json.dumps(content))
    with suppress(UserError):
        manifest = Manifest.read(here)
        assert len(manifest.complete) <= len(manifest.layout.folders)
        assert manifest.layout.num_shards < 2**24
        assert manifest.command
        manifest.write(here)


@few
@given(text=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_texts(text: bytes) -> None:
    with suppress(UserError):
        json.dumps(json_in(text, "it"), ensure_ascii=False).encode()


EPISODE = {
    **{
        "contender": "student",
        "num_steps": 1,
        "seed": 3,
        "success": True,
        "max_reward": 1.0,
        "sum_reward": 2.0,
    },
    **{"length": 7, "n_action_steps": None, "delay": 0},
}
IDENTITY = {"env": {"type": "pick"}, "policies": {"student": "a"}, "delayed": {}, "n_action_steps": 5}


@few
@given(line=like(EPISODE), identity=like(IDENTITY))
def test_journals(here: Path, line: Any, identity: Any) -> None:
    (here / "episodes.jsonl").write_text(json.dumps(line) + "\n")
    (here / "episodes.identity.json").write_text(json.dumps(identity))
    with suppress(UserError):
        assert {episode.key for episode in read_episodes(here)}
    with suppress(UserError), Journal(here, IDENTITY) as journal:
        assert journal.finished


PLAN = {"first_seed": 0, "student_steps": 1, "teacher_steps": 10, "played_before": 0}
PLAN |= {
    "pairs": 9,
    "margin": 0.02,
    "discordance": 0.1,
    "expected_difference": 0.0,
    "alpha": 0.025,
    "power": 0.1,
}


@few
@given(plans=like([PLAN]), line=like({"identity": {"a": 1}, "metrics": {"b": 2.0}}))
def test_plans_and_results(here: Path, plans: Any, line: Any) -> None:
    (here / "plans.json").write_text(json.dumps(plans))
    (here / "offline.json").write_text(json.dumps(line))
    (here / "latencies.json").write_text(json.dumps(line))
    with suppress(UserError):
        plan_in(here, SimulatorSettings().plan, [])
    for read in (ResultFolder(here).offline, ResultFolder(here).latencies):
        with suppress(UserError):
            read({"a": 1})


SETTINGS = {
    **{"seed": 1, "teacher": {"path": None}, "solver": {"n": [1]}, "env": {"task": "x"}, "margin": 0.02},
    "padding": {"noise": "full", "target": "full", "loss": "real", "inert": False},
}
FIGURES = {
    **{"student/endpoint_error@1": 0.1, "teacher/endpoint_error@1": 0.2, "success/student@1": 0.5},
    **{"success/student@1/episodes": 10, "success/teacher@10": 0.6, "success/teacher@10/episodes": 10},
    **{"success/student@1_vs_teacher@10/difference": -0.1, "success/student@1_vs_teacher@10/primary": 1},
    **{
        "success/student@1_vs_teacher@10/planned_pairs": 10,
        "success/student@1_vs_teacher@10/discordance": 0.1,
    },
    **{"latency/student@1/total_p50": 3.0, "deploy/gap": 1.0, "reaction/student@1/measured/n5": 0.5},
}
WORDS = {"title": "t", "num_steps": 1, "commands": ["c"], "versions": {"a": "1"}, "joint_names": ["j"]}


@few
@given(
    config=like(SETTINGS),
    figures=like(FIGURES),
    run=like({"id": "a"}),
    words=like(WORDS),
    log=st.text(max_size=60),
)
def test_runs(here: Path, config: Any, figures: Any, run: Any, words: Any, log: str) -> None:
    (here / "config.yaml").write_text(yaml.safe_dump(config))
    for name, content in {
        "metrics": figures,
        "run": run,
        "report": words,
        "episodes.identity": IDENTITY,
    }.items():
        (here / f"{name}.json").write_text(json.dumps(content))
    logs = here / "csv" / "version_0"
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "metrics.csv").write_text(f"step,throughput/seconds,student/endpoint_error@1\n{log}")
    for read in (
        lambda: compare(read_runs([here]), None, ()),
        lambda: read_curves(here),
        lambda: read_metrics(here / "metrics.json"),
        lambda: content_of_run(here),
        lambda: RunFolder(here).check({"seed": 1}),
        lambda: read_evaluations(str(here)),
    ):
        with suppress(UserError):
            read()


@settings(few, max_examples=4)
@given(figures=like(FIGURES))
def test_pages(here: Path, figures: Any) -> None:
    folder = here / "page"
    folder.mkdir(exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(figures))
    with suppress(UserError):
        report_on(folder)


@few
@given(data=st.data())
def test_policies(whole_teacher: Path, here: Path, data: st.DataObject) -> None:
    name = data.draw(
        st.sampled_from(["config.json", "policy_preprocessor.json", "policy_postprocessor.json"])
    )
    folder = here / "teacher"
    folder.mkdir(exist_ok=True)
    for file in whole_teacher.iterdir():
        (folder / file.name).unlink(missing_ok=True)
        (folder / file.name).symlink_to(file)
    (folder / name).unlink()
    (folder / name).write_text(json.dumps(data.draw(like(json.loads((whole_teacher / name).read_text())))))
    with suppress(UserError):
        find_folder(folder)
        check_steps(folder / "policy_preprocessor.json", "smolvla")


@few
@given(data=st.data())
def test_data_sets(whole_data: Path, here: Path, data: st.DataObject) -> None:
    root = here / "set"
    (root / "meta").mkdir(parents=True, exist_ok=True)
    for file in (whole_data / "meta").iterdir():
        (root / "meta" / file.name).unlink(missing_ok=True)
        (root / "meta" / file.name).symlink_to(file)
    name = data.draw(st.sampled_from(["info.json", "stats.json"]))
    (root / "meta" / name).unlink()
    whole = json.loads((whole_data / "meta" / name).read_text())
    (root / "meta" / name).write_text(json.dumps(data.draw(like(whole))))
    with suppress(UserError):
        load_metadata("local/set", root)


ORIGIN = asdict(
    Origin(
        TeacherOrigin(
            "ME/POLICY", "smolvla", "aa", 10, "ME/POLICY", "bb", {"model.safetensors": "cc"}, ("ME/BASE",)
        ),
        (DataOrigin("ME/DATA", "dd", tasks=("pick",), robot="arms", fps=10),),
        "two CPU cores",
    )
)


@few
@given(origin=like(json.loads(json.dumps(ORIGIN))))
def test_origins(here: Path, origin: Any) -> None:
    (here / "origin.json").write_text(json.dumps(origin))
    with suppress(UserError):
        read_origin(here)


@few
@given(run=like({"objective": {"rtc_training_max_delay": 3}}) | anything)
def test_runs_of_students_that_are_given_actions(here: Path, run: Any) -> None:
    (here / "run.json").write_text(json.dumps(run))
    with suppress(UserError):
        check_given(here, SimulatorSettings(rtc="trained", delay=60), 50.0)


SHARD = save({"endpoint": torch.ones(3, 2), "other": torch.zeros(3, dtype=torch.int64)})
HEADER = {"a": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}, "__metadata__": {"b": "c"}}
mutated = st.builds(
    lambda at, bytes_, gone: SHARD[:at] + bytes_ + SHARD[at + gone :],
    st.integers(0, len(SHARD)),
    st.binary(max_size=6),
    st.integers(0, 6),
)


@settings(few, max_examples=150)
@given(
    content=mutated
    | st.builds(safetensors, like(HEADER), st.binary(max_size=30), st.none() | st.integers(0, 2**64 - 1))
)
def test_headers_of_safetensors(here: Path, content: bytes) -> None:
    file = here / "x.safetensors"
    file.write_bytes(content)
    with suppress(UserError):
        check_weights(file)
    with suppress(UserError):
        load_arrays(file)
    file.with_suffix(".json").write_text(json.dumps({"sha256": "", "bytes": len(content)}))
    assert inspect(file, 3) is not None  # its bytes do not have that checksum


@few
@given(seal=like({"sha256": "", "bytes": 1}))
def test_seals(here: Path, seal: Any) -> None:
    (here / "s.safetensors").write_bytes(b"x")
    (here / "s.json").write_text(json.dumps(seal))
    read_seal(here / "s.safetensors")


@pytest.fixture(scope="module")
def loaded(whole_teacher: Path) -> FlowPolicy:
    return load_policy(whole_teacher)


@pytest.mark.slow
@settings(few, max_examples=300)
@given(data=st.data())
def test_policies_and_their_processors_at_length(
    whole_teacher: Path, here: Path, data: st.DataObject, loaded: FlowPolicy
) -> None:
    test_policies.hypothesis.inner_test(whole_teacher, here, data)
    with suppress(UserError):
        load_processors(find_folder(here / "teacher"), loaded)
