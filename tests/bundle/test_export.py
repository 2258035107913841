"""The command from end to end: a bundle that acts alone, wherever it is, and its graphs beside it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from reflow.bundle.graphs import DESCRIPTION, FOLDER, check_installed
from reflow.bundle.latency import STAGES, TOTAL, measure_chunks
from reflow.bundle.observations import Tried
from reflow.bundle.parity import EndpointDifference, check_parity, endpoint_differences
from reflow.bundle.proof import acts, acts_alone, prove
from reflow.bundle.relocate import relocate
from reflow.bundle.show import export_tables
from reflow.bundle.ways import WAYS, Way, full_length, way_of
from reflow.bundle.write import EXPORT, Asked, write_bundle
from reflow.config.export import asked_bundle, name_of
from reflow.errors import NotInstalledError, UserError
from reflow.export import export
from reflow.policies import load_policy, load_processors
from reflow.policies.files import WEIGHTS
from reflow.policies.rounding import apart
from reflow.policies.sums import check_sums
from tests.builders import make_dataset, repo_id
from tests.distill.conftest import composed

DOCS = Path(__file__).parents[2] / "docs" / "export.md"


def asked(*overrides: str) -> Asked:
    return asked_bundle(composed(*overrides, config_name="export"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=0", "student.path is missing; give a run folder"),
        ("precision=int4", "precision=int4; allowed: float32, bfloat16, float16, or null"),
        ("num_steps=0", "num_steps=0; allowed: 1 or more"),
        ("paths=near", "paths=near; allowed: absolute, relative"),
        ("ways=[eager,fast]", "ways holds fast; allowed: eager, compiled, graphed, onnx, int8"),
        ("observations=0", "observations=0; allowed: 1 or more"),
        ("latency_chunks=-1", "latency_chunks=-1; allowed: 0 or more"),
    ],
)
def test_what_is_refused_at_once(override: str, message: str) -> None:
    path = () if override == "seed=0" else ("student.path=embedded/teacher",)
    with pytest.raises(UserError, match=re.escape(message)):
        asked(*path, override)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("outputs/demo", "demo"),
        ("outputs/demo/pretrained_model", "demo"),
        ("outputs/demo/pretrained_model/", "demo"),
        ("embedded/teacher", "teacher"),
        ("me/my_policy", "my_policy"),
    ],
)
def test_a_bundle_is_called_as_its_run(path: str, name: str) -> None:
    assert name_of(path) == name
    assert asked(f"student.path={path}").folder == Path("outputs/export", name)


def test_the_packages_are_named_by_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "reflow.bundle.graphs.find_spec", lambda name: None if name == "onnxruntime" else name
    )
    with pytest.raises(
        NotInstalledError, match=r"onnx=true needs onnxruntime, not installed: pip install 'reflow\[onnx\]'"
    ):
        asked("student.path=embedded/teacher", "onnx=true")
    with pytest.raises(NotInstalledError, match=r"^int8=true needs"):
        asked("student.path=embedded/teacher", "int8=true")
    asked("student.path=embedded/teacher")
    monkeypatch.undo()
    check_installed("onnx=true")


@pytest.mark.slow
def test_the_packages_are_imported_where_they_are_used_alone() -> None:
    code = "import sys, reflow.export; print(sorted({'onnx', 'onnxruntime', 'onnxscript'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


def test_a_chunk_is_timed_stage_by_stage(student_folder: Path, tried: Tried) -> None:
    flow = load_policy(student_folder)
    way = way_of("eager", flow, student_folder, tried.raw[0], "cpu")
    [row] = measure_chunks(flow, [way], tried.raw, chunks=4, warmup=1)
    assert (row.way, row.num_steps, row.chunks, row.halves) == ("eager", 2, 4, 2)
    assert list(row.p50_ms) == list(row.p95_ms) == [*STAGES, TOTAL]
    assert all(0 < row.p50_ms[stage] <= row.p95_ms[stage] for stage in (*STAGES, TOTAL))
    assert row.p95_ms[TOTAL] >= max(row.p50_ms[stage] for stage in STAGES)


def test_percentiles_are_of_whole_chunks(
    student_folder: Path, tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A total is that of one chunk: the stages' medians need not add up to its median."""
    seconds = iter([[9.0] * 4, [1.0, 2.0, 3.0, 4.0], [3.0, 2.0, 1.0, 0.5], [2.0, 2.0, 2.0, 1.0]])
    monkeypatch.setattr("reflow.bundle.latency.seconds_of_stages", lambda *_: next(seconds))
    flow = load_policy(student_folder)
    way = way_of("eager", flow, student_folder, tried.raw[0], "cpu")
    [row] = measure_chunks(flow, [way], tried.raw, chunks=3, warmup=1)
    assert row.p50_ms == pytest.approx(
        {"preprocessing": 2e3, "prefix": 2e3, "velocity": 2e3, "postprocessing": 1e3, "total": 7e3}
    )
    assert row.p95_ms["total"] == pytest.approx(1e3 * (7 + 0.9 * 3))  # 6.5, 7, 10


def test_ends_are_compared_from_the_same_noise(student_folder: Path, tried: Tried) -> None:
    flow = load_policy(student_folder)
    preprocess, postprocess = load_processors(student_folder, flow)
    same = way_of("eager", flow, student_folder, tried.raw[0], "cpu")
    far = Way("onnx", preprocess, flow.encode, lambda *both: 1.25 * same.walk(*both), postprocess, "cpu")
    found = endpoint_differences(flow, preprocess, [same, far], tried, noises=3, seed=0)
    assert found["eager"].mean == found["eager"].largest == found["eager"].apart == 0.0
    assert found["eager"].chunks == 6
    assert found["onnx"].mean == pytest.approx(0.25, rel=1e-6)
    assert found["onnx"].apart == pytest.approx(0.25, rel=1e-6)
    assert 0 < found["onnx"].bound < 0.1
    check_parity(found, exact=["eager"])
    with pytest.raises(UserError, match=r"onnx: its chunks are off by up to 0\.25 of their largest value"):
        check_parity(found, exact=["onnx"])


def test_ends_that_are_no_numbers_are_refused_of_every_way() -> None:
    nan = EndpointDifference(float("nan"), float("nan"), float("nan"), 0.1, 1)
    with pytest.raises(UserError, match="int8: its chunks are off by up to nan"):
        check_parity({"int8": nan}, exact=[])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def bundle(student_folder: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes, on held-out frames, with graphs and every way that there is here."""
    folder = tmp_path_factory.mktemp("export") / "bundle"
    config = composed(
        f"student.path={student_folder}",
        f"run_dir={folder}",
        "data=lerobot",
        f"data.repo_id={repo_id(dataset)}",
        f"data.root={dataset}",
        "onnx=true",
        "int8=true",
        "observations=2",
        "latency_chunks=3",
        f"ways=[{','.join(WAYS)}]",
        "device=cpu",
        config_name="export",
    )
    assert export(config).folder == folder
    return folder


@pytest.mark.slow
def test_export_json_says_what_was_done(bundle: Path, dataset: Path, student_folder: Path) -> None:
    content = json.loads((bundle / EXPORT).read_text())
    assert content["source"]["path"] == str(student_folder)
    assert (content["type"], content["num_steps"], content["precision"]) == ("smolvla", 2, None)
    assert content["proof"] | {"seconds": 0} == {
        "observations": 2,
        "where": repo_id(dataset),
        "error": 0.0,  # the same operations on the same processor
        "seconds": 0,
    }
    exact, int8 = content["onnx"]["onnx"], content["onnx"]["int8"]
    assert 0 < exact["apart"] <= exact["bound"]
    assert exact["bound"] < int8["mean"] < 1  # inexact, and no other policy
    assert [row["way"] for row in content["latency"]] == ["eager", "compiled", "onnx", "int8"]
    assert [table.columns[0] for table in export_tables(content)] == ["observations", "", ""]
    check_sums(bundle, "student.path")
    assert (bundle / WEIGHTS).read_bytes() == (student_folder / WEIGHTS).read_bytes()


@pytest.mark.slow
def test_compiled_halves_end_where_the_policy_does(bundle: Path, tried: Tried) -> None:
    flow = load_policy(bundle)
    preprocess, _ = load_processors(bundle, flow)
    ways = [way_of("compiled", flow, bundle, tried.raw[0], "cpu")]
    check_parity(endpoint_differences(flow, preprocess, ways, tried, noises=1, seed=1), exact=["compiled"])


@pytest.mark.slow
def test_a_moved_bundle_acts_once_it_is_told_where_it_is(bundle: Path, tried: Tried, tmp_path: Path) -> None:
    flow = load_policy(bundle)
    wanted = acts(flow, load_processors(bundle, flow)[0], tried)
    moved = Path(shutil.copytree(bundle, tmp_path / "robot"))
    hidden = bundle.rename(bundle.with_name("gone"))
    try:
        with pytest.raises(
            UserError, match="stock LeRobot does not act from it in a fresh process without network"
        ):
            acts_alone(moved, tried)
        relocate(moved)
        found, _ = acts_alone(moved, tried)
        assert [apart(one, other) for one, other in zip(found, wanted, strict=True)] == [0.0, 0.0]
        # From the folder's own place it acts wherever it is, and from nowhere else.
        relocate(moved, relative=True)
        again = moved.rename(tmp_path / "elsewhere")
        prove(again, wanted, flow, tried, inside=True, exact=True)
        with pytest.raises(UserError, match="stock LeRobot does not act"):
            acts_alone(again, tried)
    finally:
        hidden.rename(bundle)


@pytest.mark.slow
def test_a_policy_that_acts_otherwise_is_refused(bundle: Path, tried: Tried, tmp_path: Path) -> None:
    flow = load_policy(bundle)
    wanted = acts(flow, load_processors(bundle, flow)[0], tried)
    flow.policy.model.action_out_proj.bias.data[0] += 1.0
    other = write_bundle(flow, bundle, Asked(tmp_path / "other"))
    with pytest.raises(UserError, match="stock LeRobot acts otherwise than the policy that was exported"):
        prove(other, wanted, flow, tried, inside=False, exact=True)


@pytest.mark.slow
def test_the_graphs_run_without_reflow_as_the_docs_say(bundle: Path, tried: Tried, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert "outputs/export/demo" in code
    tried.save(tmp_path / "observations.safetensors")
    run = code.replace("outputs/export/demo", str(bundle)) + (
        "\nimport json, sys\nfrom safetensors import safe_open\n"
        "with safe_open('observations.safetensors', 'pt') as file:\n"
        "    seen = {name[2:]: file.get_tensor(name) for name in file.keys() if name.startswith('0/')}\n"
        "    seen['task'] = json.loads(file.metadata()['tasks'])[0]\n"
        "np.random.seed(0)\n"
        "actions = act(seen)\n"
        "assert not any(name.partition('.')[0] == 'reflow' for name in sys.modules)\n"
        "np.save('actions.npy', np.asarray(actions))\n"
    )
    (tmp_path / "robot.py").write_text(run)
    done = subprocess.run([sys.executable, "-P", "robot.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    flow = load_policy(bundle)
    preprocess, postprocess = full_length(bundle, flow)
    chunk = json.loads((bundle / FOLDER / DESCRIPTION).read_text())["chunk"]
    np.random.seed(0)
    noise = torch.from_numpy(np.random.standard_normal(chunk).astype(np.float32))
    with torch.inference_mode():
        end = flow.walk(flow.encode(preprocess(dict(tried.raw[0]))), noise)
        wanted = postprocess(flow.output(end)[0])
    bound = json.loads((bundle / EXPORT).read_text())["onnx"]["onnx"]["bound"]
    assert apart(torch.from_numpy(np.load(tmp_path / "actions.npy")), wanted) <= bound
