"""The command: exit codes, what is printed where, and every bad input."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from reflow import diagnose
from reflow.distill.student import make_student
from reflow.flow import PaddingRule
from reflow.policies import RTC_FLAG, load_policy, save_policy
from tests.builders import make_dataset, make_teacher_folder, repo_id

SMALL = ("data.val_frames=4", "data.batch_size=3", "val_draws=2", "reference_steps=12", "trainer.max_steps=7")
Run = Callable[..., int]


@pytest.fixture
def run(teacher_folder: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run(*overrides)``: the command in this process, its exit code."""

    def start(*overrides: str) -> int:
        arguments = (f"teacher.path={teacher_folder}", *_data(dataset), *SMALL, *overrides)
        monkeypatch.setattr(sys, "argv", ["diagnose", *arguments])
        try:
            diagnose.main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return start


@pytest.fixture(scope="session")
def student_folder(teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    teacher = load_policy(teacher_folder)
    student = make_student(teacher, teacher_folder, PaddingRule(teacher.space)).eval()
    return save_policy(
        student, teacher_folder, tmp_path_factory.mktemp("student") / "run" / "pretrained_model"
    )


def _data(root: Path) -> tuple[str, str]:
    return f"data.repo_id={repo_id(root)}", f"data.root={root}"


def test_a_teacher_is_diagnosed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code = run("json=true", "+fix=full32")
    document = json.loads(capsys.readouterr().out)  # one document and nothing else
    assert document["exit_code"] == code
    findings = {finding["name"]: finding for finding in document["findings"]}
    assert findings["exactness"]["severity"] == "ok"
    assert {"padding_regime", "padding_sensitivity", "solver_error", "cost"} <= findings.keys()
    assert findings["padding_rule"]["severity"] == "ok"
    groups = {name.partition("/")[0] for name in document["figures"]}
    assert groups == {"fit", "normalisation", "exactness", "solver", "cost", "teacher", "real", "padding"}
    complaints = {name for name, finding in findings.items() if finding["severity"] in ("warning", "error")}
    assert code == (1 if complaints else 0)
    assert all(findings[name]["what_to_do"] for name in complaints)


def test_people_get_tables_and_the_verdict_last(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = run(f"run_dir={tmp_path / 'new'}")
    lines = capsys.readouterr().out.strip().splitlines()
    document = json.loads((tmp_path / "new" / "diagnosis.json").read_text())
    assert lines[-1] == document["verdict"]
    assert document["exit_code"] == code
    assert any("teacher endpoints" in line for line in lines)


def test_the_founding_script_s_rule_is_a_finding(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("json=true", "+fix=keep_target", "student.num_steps=2") == 1
    findings = {one["name"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["padding_rule"]["severity"] == "warning"
    assert "problem 2" in findings["padding_rule"]["what"]


def test_a_student_and_an_old_one(run: Run, student_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("json=true", f"student.path={student_folder.parent}", f"student.old={student_folder}", "nfe=[1,4]")
    document = json.loads(capsys.readouterr().out)
    figures, findings = document["figures"], {one["name"]: one for one in document["findings"]}
    assert findings["rtc_weight"]["what_to_do"].endswith(RTC_FLAG)
    # Not trained yet: in four steps it is the teacher, in one step what the teacher is in one.
    assert figures["student/endpoint_error@4"] == 0.0
    assert figures["student/endpoint_error@1"] == figures["teacher/endpoint_error@1"] > 0.01
    assert figures["old/endpoint_error@1"] == figures["student/endpoint_error@1"]
    run("json=true", f"student.path=[{student_folder},{student_folder.parent}]", "nfe=[1]")
    assert "old/endpoint_error@1" in json.loads(capsys.readouterr().out)["figures"]


def test_every_data_set_of_a_mixture_is_looked_at(
    teacher_folder: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The second is another robot's: its own frame rate, and statistics that are not the teacher's."""
    other = make_dataset(tmp_path / "other", fps=25, episodes=3)
    stats = json.loads((other / "meta" / "stats.json").read_text())
    stats["action"]["mean"] = [value + 40 for value in stats["action"]["mean"]]
    (other / "meta" / "stats.json").write_text(json.dumps(stats))
    entries = ", ".join(f"{{repo_id: {repo_id(root)}, root: {root}}}" for root in (dataset, other))
    words = ["json=true", f"teacher.path={teacher_folder}", f"data.mixture=[{entries}]", *SMALL]
    monkeypatch.setattr(sys, "argv", ["diagnose", *words])
    with pytest.raises(SystemExit) as end:
        diagnose.main()
    document = json.loads(capsys.readouterr().out)
    assert end.value.code == document["exit_code"] == 1
    figures = document["figures"]
    assert (figures["fit/0/fps"], figures["fit/1/fps"]) == (10, 25)
    assert (figures["fit/0/episodes"], figures["fit/1/episodes"]) == (4, 3)
    shift = "normalisation/{}/action/joint_0/mean_shift"
    assert abs(figures[shift.format(0)]) < 0.01 < 5 < abs(figures[shift.format(1)])
    (odd,) = [found["what"] for found in document["findings"] if found["name"] == "other_statistics"]
    assert odd.startswith("data set local/other (data.mixture[1]")
    # Endpoints are held against the data that they were asked for.
    ends = [figures[f"normalisation/{number}/action/joint_0/endpoint_high"] for number in (0, 1)]
    assert ends[0] != ends[1]


def test_json_is_a_key_too(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("json=true", "val_draws=3", "--cfg", "job") == 0
    config = OmegaConf.create(capsys.readouterr().out)
    assert (config.json, config.val_draws) == (True, 3)
    assert run("--json", "--cfg", "job") == 2
    assert "give Hydra's own flags with json=true (json=true --cfg)" in capsys.readouterr().err


def test_the_flag_says_what_the_key_says(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = run("--json"), run("json=true")
    one, other = capsys.readouterr().out.split("\n}\n")[:2]
    one, other = json.loads(one + "}"), json.loads(other + "}")
    assert (first, one["verdict"], one["exit_code"]) == (second, other["verdict"], other["exit_code"])
    assert [finding["name"] for finding in one["findings"]] == [f["name"] for f in other["findings"]]


def test_what_hydra_refuses_cannot_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", "nothing.like=this") == 2
    said = capsys.readouterr()
    assert json.loads(said.out)["exit_code"] == 2
    assert "nothing" in said.err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("val_draws=0", r"val_draws=0; allowed: 1 or more"),
        ("nfe=[]", r"nfe=\[\]; allowed: one or more step counts, each 1 or more"),
        ("output=x", r"output=\.\.\. is now run_dir"),
        ("teacher.num_steps=0", r"teacher\.num_steps=0; allowed: 1 or more"),
        ("trainer.max_steps=-1", r"trainer\.max_steps=-1; allowed: 1 or more"),
        ("+data.typo=1", r"configuration key data\.typo"),
        ("device=tpu", r"device=tpu; allowed: auto, cpu, cuda"),
        ("device=cuda", r"torch sees no GPU here"),
        ("data.val_episodes=[]", r"data\.val_episodes=\[\] chooses no episode"),
        ("data.episodes=[2]", r"no episode is left to train on"),
        ("padding.noise=some", r"padding\.noise=some; allowed: real or full"),
        ("solver.name=rk45", r"solver is 'rk45'"),
        ("student.old=x", r"student\.old is given without student\.path"),
        ("student.path=[]", r"student\.path=\[\]; allowed: a path, or a list"),
        ("student.path=nowhere", r"student\.path=nowhere is neither a folder here nor"),
    ],
)
def test_bad_settings(run: Run, capsys: pytest.CaptureFixture[str], override: str, message: str) -> None:
    assert run(override) == 2
    shown = capsys.readouterr()
    assert shown.err.strip().splitlines()[-1].startswith("error: ")
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(shown.err)


def test_a_student_of_another_teacher(run: Run, tmp_path: Path, meta: Any, capsys: Any) -> None:
    other = make_teacher_folder(tmp_path / "other", statistics=meta.stats, num_steps=1, seed=5)
    assert run("json=true", f"student.path={other}") == 2
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == 2
    assert "was not distilled from teacher.path=" in document["error"]


def test_data_that_do_not_fit_are_shown_beside_the_policy(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_dataset(tmp_path / "other", cameras=("observation.images.wrist",), episodes=2)
    assert run(*_data(other)) == 2
    shown = capsys.readouterr()
    assert "data and policy" in shown.out
    assert "data.rename={observation.images.wrist:observation.images.top}" in shown.err
    assert run(*_data(other), "json=true") == 2
    document = json.loads(capsys.readouterr().out)
    assert document["findings"][0]["name"] == "misfit"
    assert document["figures"]["fit/fps"] == 10
    assert run(*_data(other), "data.rename={observation.images.wrist:observation.images.top}") in (0, 1)


def test_chunks_longer_than_any_episode(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = make_dataset(tmp_path / "short", frames=5)
    assert run(*_data(short)) == 2
    assert "data.allow_short_episodes=true" in capsys.readouterr().err
    assert run(*_data(short), "data.allow_short_episodes=true", "json=true") in (0, 1)


def test_missing_statistics(
    run: Run, teacher_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(teacher_folder, tmp_path / "copy")
    file = next(copy.glob("policy_preprocessor_step_*normalizer*.safetensors"))
    save_file({key: value for key, value in load_file(file).items() if not key.startswith("action.")}, file)
    assert run(f"teacher.path={copy}") == 2
    assert "statistics action.mean, action.std are missing" in capsys.readouterr().err


def test_an_output_that_cannot_be_written(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(f"run_dir={tmp_path / 'file'}") == 2
    assert "cannot be written" in capsys.readouterr().err
