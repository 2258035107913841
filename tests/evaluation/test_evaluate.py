"""``python -m reflow.evaluate`` end to end on a small student, its bad input, and that it measures nothing twice."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from safetensors.numpy import load_file

import reflow.evaluate
from reflow import cli
from reflow.config import run_directory
from reflow.config.evaluate import check_given
from reflow.config.parts import settings_of
from reflow.config.run_folder import RUN
from reflow.data import LeRobotDataModule
from reflow.data.robot import Robot
from reflow.demo.pick_env import pick_environment
from reflow.errors import UserError
from reflow.evaluate import evaluate
from reflow.evaluation.offline import OfflineSettings
from reflow.evaluation.simulated import film
from reflow.evaluation.simulator_settings import SimulatorSettings
from reflow.files import write_json
from reflow.policies import load_policy, save_policy
from reflow.probes import Figures, Observations
from reflow.simulator.actor import Conditions
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.journal import EPISODES, IDENTITY
from reflow.train import train
from tests.builders import make_dataset, make_teacher_folder, repo_id
from tests.distill.conftest import SMALL as SMALL_TRAINING
from tests.metric_names import undocumented

SMALL = (
    "data.batch_size=3",
    "data.val_frames=4",
    "nfe=[1,2,4]",
    "reference_steps=12",
    "val_draws=4",
    "distribution_frames=1",
    "fan_noises=3",
    "latency_chunks=1",
    "latency_nfe=[1]",
)
Evaluate = Callable[..., dict[str, float]]


def composed(*overrides: str, config_name: str = "evaluate") -> DictConfig:
    return cli.composed(config_name, *overrides)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model", num_steps=4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def student(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a student: the teacher with another last layer."""
    flow = load_policy(teacher)
    with torch.no_grad():
        flow.policy.model.action_out_proj.bias.add_(0.1)
    flow.num_steps = 1
    run = tmp_path_factory.mktemp("run")
    save_policy(flow, teacher, run / "pretrained_model")
    return run


@pytest.fixture
def run(teacher: Path, student: Path, dataset: Path, tmp_path: Path) -> Evaluate:
    """``run(*overrides)``: the command on the small student, into ``tmp_path / "out"``."""

    def start(*overrides: str) -> dict[str, float]:
        return evaluate(
            composed(
                f"student.path={student}",
                f"teacher.path={teacher}",
                f"data.repo_id={repo_id(dataset)}",
                f"data.root={dataset}",
                f"run_dir={tmp_path / 'out'}",
                *SMALL,
                *overrides,
            )
        )

    return start


def test_it_leaves_metrics_arrays_and_a_page_and_measures_nothing_twice(
    run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = run()
    out = tmp_path / "out"
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert {"student/endpoint_error@1", "teacher/solver_error", "distribution/energy_null"} <= metrics.keys()
    assert undocumented(metrics) == []
    assert "fan/student" in load_file(out / "arrays.safetensors")
    page = (out / "report.html").read_text()
    assert "python -m reflow.evaluate" in page
    assert "endpoint error against the teacher" in capsys.readouterr().out

    def measured_again(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(reflow.evaluate, "evaluate_offline", measured_again)
    assert run("data.num_workers=1") == metrics  # how data are read is no other evaluation
    with pytest.raises(ValueError, match=r"(?s)holds another evaluation:.*seed: 0 there, 1 now"):
        run("seed=1")
    with pytest.raises(AssertionError, match="measured again"):
        run(f"run_dir={tmp_path / 'elsewhere'}")


def test_a_mixture_is_measured_on_and_its_robot_goes_as_far_as_all_of_it(
    run: Evaluate, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_dataset(tmp_path / "other", seed=5)
    entries = ", ".join(f"{{repo_id: {repo_id(root)}, root: {root}}}" for root in (dataset, other))
    seen: list[tuple[LeRobotDataModule, Robot]] = []
    offline = reflow.evaluate.evaluate_offline

    def watched(
        by: Observations, data: LeRobotDataModule, robot: Robot, *settings: OfflineSettings
    ) -> Figures:
        seen.append((data, robot))
        return offline(by, data, robot, *settings)

    monkeypatch.setattr(reflow.evaluate, "evaluate_offline", watched)
    metrics = run(
        "data.repo_id=null",
        "data.root=null",
        f"data.mixture=[{entries}]",
        "limit_margin=0",
        "latency_chunks=0",
    )
    assert all(math.isfinite(value) for value in metrics.values())
    ((data, robot),) = seen
    stats = [source.meta.stats["action"] for source in data.sources]
    assert torch.equal(
        robot.upper, torch.tensor(np.maximum(*(each["max"] for each in stats)), dtype=torch.float32)
    )
    assert torch.equal(
        robot.lower, torch.tensor(np.minimum(*(each["min"] for each in stats)), dtype=torch.float32)
    )


@pytest.mark.slow
def test_its_figures_are_those_of_the_training_run(teacher: Path, dataset: Path, tmp_path: Path) -> None:
    where = [
        f"teacher.path={teacher}", f"data.repo_id={repo_id(dataset)}", f"data.root={dataset}"
    ]  # fmt: skip
    overrides = [*where, f"run_dir={tmp_path / 'run'}", *SMALL_TRAINING, "+fix=full32"]
    config = composed(*overrides, config_name="train")
    trained = train(config, run_directory(config, overrides))
    found = evaluate(composed(f"student.path={tmp_path / 'run'}", *where, *SMALL))
    assert (tmp_path / "run" / "evaluation" / "report.html").is_file()
    compared = [name for name in found if name in trained]
    assert len(compared) > 30
    for name in compared:
        assert found[name] == pytest.approx(trained[name], rel=1e-3, abs=1e-6), name


@pytest.mark.slow
def test_in_the_simulator(tmp_path: Path, run: Evaluate, capsys: pytest.CaptureFixture[str]) -> None:
    play = ("env=pick", "env.episode_length=6", "episodes=2", "teacher_steps=[2,1]", "processes=1")
    metrics = run(*play, "offline=false", "videos=1")
    assert metrics["success/student@1/episodes"] == 2
    assert "success/student@1_vs_teacher@2/mcnemar_p" in metrics
    assert undocumented(metrics) == []
    assert not any(name.startswith("distribution") for name in metrics)
    out = tmp_path / "out"
    assert len((out / "episodes.jsonl").read_text().splitlines()) == 6
    assert (out / "videos" / "seed-100000.mp4").stat().st_size > 0
    assert "is not shown to be not inferior" in capsys.readouterr().out
    (plan,) = json.loads((out / "plans.json").read_text())
    assert (plan["pairs"], plan["played_before"]) == (2, 0)
    episodes, film = (
        (out / name).stat().st_mtime_ns for name in ("episodes.jsonl", "videos/seed-100000.mp4")
    )
    again = run(*play, "videos=1")
    assert metrics.items() <= again.items()
    assert "student/endpoint_error@1" in again
    assert (out / "episodes.jsonl").stat().st_mtime_ns == episodes
    assert (out / "videos" / "seed-100000.mp4").stat().st_mtime_ns == film

    part = run(*play, "offline=false", "episodes=1")  # what was played of the plan is what is summed up
    assert {name: value for name, value in part.items() if name in metrics} == metrics
    with pytest.raises(UserError, match=r"(?s)episodes: 2 planned, 3 now.*first_seed=100002"):
        run(*play, "offline=false", "episodes=3")
    fresh = run(*play, "offline=false", "first_seed=100002", "videos=1", "videos_of=differ")
    assert fresh["success/student@1/episodes"] == 2
    assert "This is plan 2 of its folder" in capsys.readouterr().out
    differ = fresh["success/student@1_vs_teacher@2/discordance"] > 0
    assert len(list((out / "videos").glob("*.mp4"))) == 1 + differ


@pytest.mark.slow
def test_pairs_that_differ_are_filmed(teacher: Path, student: Path, tmp_path: Path) -> None:
    conditions = Conditions(pick_environment(episode_length=6))
    folders = {"teacher": teacher, "student": student / "pretrained_model"}
    settings = SimulatorSettings(episodes=9, teacher_steps=(2,), processes=1, videos=1, videos_of="differ")
    players = settings.contenders(folders)
    files = film(conditions, players, settings, tmp_path, differing=(100_004, 100_006))
    assert files == (tmp_path / "videos" / "seed-100004.mp4",)
    assert files[0].stat().st_size > 0
    assert film(conditions, players, settings, tmp_path) == ()


def test_seeds_of_the_training_run_are_refused_before_anything_is_loaded(
    run: Evaluate, student: Path, tmp_path: Path
) -> None:
    env = EnvironmentSettings.from_mapping(cli.plain(composed("env=pick").env))
    write_json(student / "simulator" / IDENTITY, {"env": env.identity()})
    line = {"contender": "student", "num_steps": 1, "seed": 100_099, "success": True}
    line |= {"max_reward": 4.0, "sum_reward": 9.0, "length": 80}
    (student / "simulator" / EPISODES).write_text(json.dumps(line) + "\n")
    try:
        with pytest.raises(UserError, match=r"1 of the 100 seeds \(100099, .*first_seed=100100"):
            run("env=pick")
    finally:
        shutil.rmtree(student / "simulator")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_in_a_world_that_goes_on(tmp_path: Path, run: Evaluate, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a delay the episodes are those of a world that waits; a measured latency is kept."""
    play = (
        "env=pick",
        "env.episode_length=12",
        "episodes=2",
        "teacher_steps=[2]",
        "processes=1",
        "offline=false",
    )
    out = tmp_path / "out"
    run(*play, "n_action_steps=4")
    late = ("delay=[0,measured,60]", "n_action_steps=[4,8]", "videos=1")
    metrics = run(*play, *late)
    lines = [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]
    assert {line["delay"] for line in lines} >= {0, 3}
    assert len(lines) == len(
        {json.dumps(line) for line in lines}
    )  # none twice: those without delay were there
    for who in ("teacher@2", "student@1"):
        ms = metrics[f"reaction/{who}/latency"]
        assert metrics[f"reaction/{who}/measured/n4/delay"] == math.ceil(ms / 20)
        assert metrics[f"reaction/{who}/60ms/n8/episodes"] == 2
    assert "reaction/student@1_vs_teacher@2/60ms/difference" in metrics
    assert not any(name.startswith("success/") for name in metrics)
    assert undocumented(metrics) == []
    assert "success by latency of a chunk" in capsys.readouterr().out
    page = (out / "report.html").read_text()
    assert "on the same machine" in page
    assert (out / "videos" / "seed-100000.mp4").stat().st_size > 0
    episodes = (out / "episodes.jsonl").stat().st_mtime_ns
    assert run(*play, *late) == metrics
    assert (out / "episodes.jsonl").stat().st_mtime_ns == episodes
    joined = run(*play, "delay=60", "n_action_steps=2", "rtc=[null,guided,trained]")
    assert {"reaction/teacher@2-guided/60ms/n2", "reaction/student@1-trained/60ms/n2/jump"} <= joined.keys()
    assert "reaction/teacher@2-trained/60ms/n2" not in joined
    assert undocumented(joined) == []
    assert "largest jump of a joint between chunks" in " ".join(capsys.readouterr().out.split())
    assert "student, 1 step, trained" in (out / "report.html").read_text()


def test_more_given_actions_than_a_student_was_trained_for_are_refused(tmp_path: Path) -> None:
    asked = SimulatorSettings(rtc=[None, "trained"], delay=[60, "measured", 300])
    write_json(tmp_path / RUN, {"objective": {"rtc_training_max_delay": 10}})
    with pytest.raises(
        UserError, match=r"delay=300: 15 control steps at 50 a second, .*at most 10 actions; .*=15"
    ):
        check_given(tmp_path, asked, 50.0)
    write_json(tmp_path / RUN, {"objective": {"rtc_training_max_delay": 15}})
    check_given(tmp_path, asked, 50.0)
    write_json(tmp_path / RUN, {"objective": {}})  # of before there was such a thing
    with pytest.raises(
        UserError, match=r"rtc=trained: the student of .* was not trained to be given actions"
    ):
        check_given(tmp_path, asked, 50.0)
    check_given(tmp_path, SimulatorSettings(rtc="guided", delay=300), 50.0)
    check_given(None, asked, 50.0)  # a policy folder says nothing of its training


def test_a_student_of_another_teacher(run: Evaluate, tmp_path: Path) -> None:
    other = make_teacher_folder(tmp_path / "other", num_steps=4, seed=1)
    with pytest.raises(ValueError, match=r"student\.path=.* was not distilled from teacher\.path=.*other"):
        run(f"teacher.path={other}")
    assert not (tmp_path / "out").exists()


def test_an_environment_without_the_policys_cameras(run: Evaluate, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"cameras do not fit: the teacher sees \['observation.images.top'\]"
    ):
        run("env=pusht")
    assert not (tmp_path / "out").exists()


def test_no_held_out_episodes(run: Evaluate, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.val_episodes=\[\] chooses no episode"):
        run("data.val_episodes=[]")
    single = make_dataset(tmp_path / "single", episodes=1)
    with pytest.raises(ValueError, match="no episode is left to train on: 1 chosen, 1 held out"):
        run(f"data.repo_id={repo_id(single)}", f"data.root={single}")


def test_an_output_folder_that_cannot_be_written(run: Evaluate, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"run_dir=.*file/out cannot be written .*nothing was measured yet"):
        run(f"run_dir={tmp_path}/file/out")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("noises=32", r"noises is 32; allowed: 64 or more"),
        ("nfe=[0]", r"nfe is \[0\]; allowed"),
        ("episodes=0", r"episodes is 0; allowed: 1 or more"),
        ("margin=0", r"margin is 0.0; allowed: above 0"),
        ("power=2 episodes=null", r"power is 2\.0; allowed: 0\.5 to below 1"),
        ("offline=false", r"offline=false and no environment: nothing is left to measure; add one"),
        ("device=tpu", r"device=tpu; allowed: auto, cpu, cuda"),
        ("device=cuda", r"device=cuda, but torch sees no GPU"),
        ("lower=[0,0]", r"lower has 2 limits; allowed: 14"),
        (
            "+nfee=[1]",
            r"configuration key nfee=\[1\].*did you mean nfe\? Keys at the top: .*nfe, reference_steps",
        ),
        ("+data.batchsize=3", r"configuration key data\.batchsize.*batch_size"),
        ("episodes=many", r"configuration key episodes=many"),
        ("data.repo_id=null", r"data\.repo_id is null"),
        ("student.path=nowhere", r"student\.path=nowhere is neither a folder here nor"),
        ("env=pick env.type=mars", r"env\.type=mars is not in LeRobot's registry"),
        ("+env.task=x", r"env\.type is missing; choose one of"),
        ("teacher.num_steps=0", r"teacher\.num_steps=0; allowed: 1 or more, or null"),
        ("delay=30", r"delay=30 is played in a simulator; add one \(env=pick"),
        ("delay=30 env=pick env.idle=null", r"env\.idle=None; a robot that waits"),
        (
            "delay=[30,measured] env=pick latency_chunks=0",
            r"latency_chunks=0 times nothing, and delay=measured needs it",
        ),
        ("rtc=guided env=pick", r"rtc=guided is about what is played while a policy thinks; add a delay"),
        ("output=x", r"output=\.\.\. is now run_dir"),
        ("seed=-1", r"seed=-1; allowed: 0 or more"),
        ("data.val_frames=0", r"data\.val_frames=0; allowed: 1 or more"),
    ],
)
def test_impossible_settings_leave_no_folder(
    run: Evaluate, tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=f"(?s){message}"):
        run(*override.split())
    assert not (tmp_path / "out").exists()


def test_a_missing_student() -> None:
    with pytest.raises(ValueError, match=r"student\.path is missing; give a run folder of reflow\.train"):
        evaluate(composed())


@pytest.mark.parametrize("kind", [OfflineSettings, SimulatorSettings])
def test_defaults_in_python_are_those_in_yaml(kind: type) -> None:
    assert settings_of(kind, composed()) == kind()


@pytest.mark.slow
def test_the_command_prints_one_line_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reflow.evaluate", "student.path=nowhere"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: student.path=nowhere is neither a folder here")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
