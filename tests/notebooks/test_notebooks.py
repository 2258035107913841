"""The notebooks: stripped and sound as files; executed, every claim gets a verdict that follows from its numbers.

Left out: what the figures look like, and the default settings, which take minutes.
"""

import ast
import csv
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from reflow.reports.compare import Run, compare
from reflow.reports.comparison_table import csv_text

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
PROBLEMS, DEMO = FOLDER / "01_three_problems.ipynb", FOLDER / "02_distill_the_demo.ipynb"
OBJECTIVES = FOLDER / "03_objectives.ipynb"
ABLATION = "padding_ablation.csv"
FIXES = (
    "unfixed",
    "keep_target",
    "full_loss",
    "full_noise",
    "keep_target+full_loss",
    "full_noise+keep_target",
    "full_noise+full_loss",
    "full32",
    "valid14",
)
TEACHERS = ("embedded", "teacher_supervised")
SEEDS = (0, 1, 2)
VERDICT = re.compile(r"\*\*Claim (?P<claim>.+?): (?P<word>(confirmed|refuted|depends).*?)\.\*\* (?P<why>.+)")

every = pytest.mark.parametrize("path", [PROBLEMS, DEMO, OBJECTIVES], ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code(path: Path) -> Iterator[ast.Module]:
    for cell in read(path).cells:
        if cell.cell_type == "code":
            yield ast.parse(cell.source)


def execute(path: Path, where: Path) -> nbformat.NotebookNode:
    """Run every cell; an error in one raises."""
    notebook = read(path)
    client = NotebookClient(
        notebook,
        timeout=1800,
        startup_timeout=900,
        kernel_name="python3",
        resources={"metadata": {"path": str(where)}},
    )
    client.execute()
    return notebook


def shown(notebook: nbformat.NotebookNode) -> str:
    """Everything that the cells printed or displayed as text."""
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            texts.append(data.get("text/markdown") or data.get("text/plain") or output.get("text", ""))
    return "\n".join(texts)


def figures(notebook: nbformat.NotebookNode) -> int:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "REFLOW_NOTEBOOK_SMALL": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "jupyter"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }.items():
        monkeypatch.setenv(name, value)


@every
def test_a_notebook_is_valid_and_holds_no_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 5
    for cell in cells:
        assert cell.outputs == []
        assert cell.execution_count is None


@every
def test_what_a_notebook_imports_from_the_package_is_there(path: Path) -> None:
    wanted = [
        (node.module, alias.name)
        for module in code(path)
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("reflow.")
        for alias in node.names
    ]
    assert len(wanted) > 5
    missing = [
        f"{where}.{name}" for where, name in wanted if not hasattr(importlib.import_module(where), name)
    ]
    assert missing == []


@every
def test_a_notebook_names_no_absolute_path(path: Path) -> None:
    strings = [
        node.value
        for module in code(path)
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [
        text
        for text in strings
        if re.match(r"/(home|root|tmp|work|Users|mnt|opt|usr|var)\b|~/|[A-Z]:\\", text)
    ] == []


def test_the_ablation_beside_the_notebook_is_whole() -> None:
    if not (FOLDER / ABLATION).is_file():
        pytest.skip(f"{ABLATION} is not there; the notebook says which commands make it")
    with open(FOLDER / ABLATION, newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["teacher"], row["fix"], int(row["seed"])) for row in rows} == {
        (teacher, fix, seed) for teacher in TEACHERS for fix in FIXES for seed in SEEDS
    }
    assert all(float(row[f"student/endpoint_error@{n}"]) > 0 for row in rows for n in (1, 10))


def ablation(errors: Mapping[str, Mapping[str, float]]) -> str:
    """A CSV as `reflow.report` writes it, with these endpoint errors at ten steps by teacher and fix."""
    runs = [
        Run(
            f"outputs/{teacher}-{fix}-{seed}",
            seed,
            {"teacher": teacher, "fix": fix},
            {
                "train/loss": 0.01,
                "deploy/loss": 0.01 * (1 + 0.1 * seed),
                "deploy/gap": 1 + 0.1 * seed,
                "student/endpoint_error@1": 0.1 + 0.001 * seed,
                "student/endpoint_error@10": errors[teacher].get(fix, 0.1) + 0.001 * seed,
            },
        )
        for teacher in TEACHERS
        for fix in FIXES
        for seed in SEEDS
    ]
    return csv_text(compare(runs))


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_every_claim_of_the_report_gets_a_verdict(tmp_path: Path) -> None:
    (tmp_path / ABLATION).write_text(
        ablation(
            {
                "embedded": {"unfixed": 0.04, "keep_target": 0.28, "full32": 0.04},
                "teacher_supervised": {"unfixed": 0.28, "keep_target": 0.28, "full32": 0.04},
            }
        )
    )
    notebook = execute(PROBLEMS, tmp_path)
    text = shown(notebook)
    words = {found["claim"]: found["word"] for found in VERDICT.finditer(text)}
    assert {claim[0] for claim in words} == set("1234567")
    # What holds however small the settings are.
    assert words["1 (re-padding)"].startswith(
        "depends on the teacher (holds where padding was never supervised"
    )
    assert words["2 (no gradient)"] == "depends on which weights"
    assert words['3 ("normal training uses 14-wide noise")'] == "refuted"
    assert words["6 (scheme 1)"] == "depends on whether padding is made inert"
    # What follows from the ablation given here.
    found = words["5 (27.93 %, the script as found, ablation)"]
    assert found == "depends on the teacher (holds where padding was supervised)"
    assert words["5 (27.93 %, the committed repair, ablation)"] == "confirmed"
    assert words["4 (14x, the script as found, ablation)"] == "refuted"
    # The last table repeats every verdict.
    summary = notebook.cells[-1].outputs[-1]["data"]["text/html"]
    assert all(word in summary for word in words.values())
    assert figures(notebook) >= 6


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_the_demo_is_distilled_and_stock_lerobot_loads_the_student() -> None:
    notebook = execute(DEMO, FOLDER)
    text = shown(notebook)
    found = re.search(r"One step: \*\*([\d.]+)%\*\* before distillation, \*\*([\d.]+)%\*\* after", text)
    assert found is not None
    before, after = found.groups()
    assert float(before) > 1
    assert float(after) > 0
    assert before != after
    assert "the student takes **1 step** and its chunk differs from the one here by **0**" in text
    assert "model.safetensors" in text
    assert figures(notebook) >= 5


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_the_objectives_train_and_the_second_time_is_folded_away() -> None:
    notebook = execute(OBJECTIVES, FOLDER)
    text = shown(notebook)
    assert figures(notebook) == 1
    moved = re.search(r"moves the velocity by \*\*([\d.]+)%\*\*; folding moves it by \*\*(\S+)\*\*", text)
    assert moved is not None
    assert float(moved[1]) > 0
    assert float(moved[2]) < 1e-4
    assert "stock LeRobot's chunk differs from ours by **0**" in text
