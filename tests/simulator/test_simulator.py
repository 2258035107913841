"""Teacher and student in the simulator, in real processes, some of which are really killed."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reflow.demo.pick_env import pick_environment
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.journal import EPISODES, Episode, Journal, OtherEvaluationError
from reflow.simulator.play import _identity, load_actions, simulate
from reflow.simulator.rollout import Player
from reflow.simulator.workers import WorkerDiedError
from tests.builders import TOP, make_statistics, make_teacher_folder

CONDITIONS = Conditions(pick_environment(episode_length=6))
HEAD = "observation.images.head_camera"
SEEDS = [100_003, 100_000, 100_001]


@pytest.fixture(scope="module")
def contenders(tmp_path_factory) -> list[Contender]:
    statistics = make_statistics(14, 14)
    statistics["action"] = {"mean": torch.zeros(14), "std": torch.full((14,), 0.1)}
    root = tmp_path_factory.mktemp("policies")
    folders = [
        make_teacher_folder(root / name, seed=seed, n_action_steps=4, statistics=statistics)
        for seed, name in enumerate(("teacher", "student"))
    ]
    return [
        Contender("teacher", folders[0], 2),
        Contender("teacher", folders[0], 1),
        Contender("student", folders[1], 1),
    ]


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / EPISODES).read_text().splitlines()]


@pytest.mark.slow
def test_killed_and_started_again_it_gives_what_one_process_gives(contenders, tmp_path):
    player = Player(CONDITIONS)
    alone = {(who, seed): player.play(who, seed) for who in contenders for seed in SEEDS}
    player.close()
    told = []

    def kill_one(done: int, total: int) -> None:
        told.append((done, total))
        if done == 4:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    arguments = {"folder": tmp_path, "processes": 2, "keep_actions": 2}
    with pytest.raises(
        WorkerDiedError, match=r"killed by SIGKILL .*seed.* of 9 episodes are safe in .*the same command"
    ):
        simulate(CONDITIONS, contenders, SEEDS, progress=kill_one, **arguments)
    assert not multiprocessing.active_children()
    safe = len(lines(tmp_path))
    assert 4 <= safe < 9
    assert told == [(done, 9) for done in range(safe + 1)]

    told.clear()
    episodes = simulate(
        CONDITIONS, contenders, SEEDS, progress=lambda *count: told.append(count), **arguments
    )
    assert told == [(done, 9) for done in range(safe, 10)]
    assert episodes == [alone[who, seed][0] for who in contenders for seed in SEEDS]
    assert len({episode.sum_reward for episode in episodes} | {episode.length for episode in episodes}) > 1
    assert len(lines(tmp_path)) == 9

    kept = {
        (episode.contender, episode.num_steps, episode.seed): a
        for episode, a in load_actions(tmp_path, episodes)
    }
    assert set(kept) == {(who.name, who.num_steps, seed) for who in contenders for seed in SEEDS[:2]}
    for who in contenders:
        np.testing.assert_array_equal(kept[who.name, who.num_steps, SEEDS[0]], alone[who, SEEDS[0]][1])

    # Nothing is left to do: nobody is started, and the episodes come back; more seeds and contenders may follow.
    told.clear()
    again = simulate(CONDITIONS, contenders, SEEDS, progress=lambda *count: told.append(count), **arguments)
    assert (again, told) == (episodes, [(9, 9)])
    more = simulate(CONDITIONS, contenders[:1], SEEDS[:1], folder=tmp_path, processes=1, keep_actions=1)
    assert more == episodes[:1]
    assert len(lines(tmp_path)) == 9


_SCRIPT = """
import signal
import sys
from pathlib import Path
from reflow.demo.pick_env import pick_environment
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.play import simulate

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it ignored
    contender = Contender("teacher", Path(sys.argv[1]), 1)
    conditions = Conditions(pick_environment(episode_length=6))
    simulate(conditions, [contender], range(40), folder=Path(sys.argv[2]), processes=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_evaluation_that_is_stopped_leaves_its_episodes_and_no_process(contenders, tmp_path, how):
    script = tmp_path / "evaluate.py"
    script.write_text(_SCRIPT)
    command = [sys.executable, str(script), str(contenders[0].folder), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while running.poll() is None and not ((tmp_path / EPISODES).is_file() and lines(tmp_path)):
        time.sleep(0.05)
    children = [
        int(pid) for pid in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    ]
    running.send_signal(how)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == -how, errors
    if how is signal.SIGINT:
        assert "of 40 episodes are safe in" in errors
    for _ in range(600):
        if not any(Path(f"/proc/{pid}").exists() for pid in children):
            break
        time.sleep(0.1)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    safe = len(lines(tmp_path))
    assert 0 < safe < 40
    told = []
    episodes = simulate(
        CONDITIONS,
        contenders[1:2],
        range(safe + 1),
        folder=tmp_path,
        processes=1,
        progress=lambda *n: told.append(n),
    )
    assert told[0][0] >= safe - 1  # two workers: the seeds need not have been finished in order
    assert len(episodes) == safe + 1


def test_episodes_of_other_conditions_are_refused(contenders, tmp_path):
    simulated = {
        "contender": "teacher",
        "num_steps": 1,
        "success": False,
        "max_reward": 0,
        "sum_reward": 0,
        "length": 6,
    }
    with Journal(tmp_path, _identity(CONDITIONS, contenders)) as journal:
        journal.append(Episode(seed=1, **simulated))
    teacher, student = contenders[1], contenders[2]
    assert simulate(CONDITIONS, [teacher], [1], folder=tmp_path)[0].seed == 1
    longer = Conditions(pick_environment(episode_length=7))
    with pytest.raises(OtherEvaluationError, match=r"env\.episode_length: 6 there, 7 now"):
        simulate(longer, [teacher], [1], folder=tmp_path)
    with pytest.raises(OtherEvaluationError, match="noise_seed: 7 there, 8 now"):
        simulate(Conditions(CONDITIONS.env, noise_seed=8), [teacher], [1], folder=tmp_path)
    with pytest.raises(OtherEvaluationError, match=r"policies\.teacher\.fingerprint: "):
        simulate(CONDITIONS, [Contender("teacher", student.folder, 1)], [1], folder=tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"processes": -1}, "processes=-1; allowed: 0 .this process. or more"),
        ({"seeds": []}, "1 contenders, 0 seeds"),
        ({"seeds": [1, 1]}, r"seeds must be different numbers from 0 to 2\*\*32 - 1; got \[1, 1\]"),
        ({"seeds": [2**32]}, r"seeds must be .*; got \[4294967296\]"),
        ({"num_steps": 0}, "teacher: num_steps=0; allowed: 1 or more"),
        (
            {"n_action_steps": 9},
            "n_action_steps=9; allowed for the teacher: 1 to 8, the steps of its chunk, or null",
        ),
        ({"delay": -1}, "teacher: delay=-1 control steps; allowed: 0 or more"),
        (
            {"delay": 6},
            r"teacher, 1 step, 6 late: thinks for 6 control steps, and an episode has 6, .*env\.episode_length",
        ),
        (
            {"delay": 2, "env": replace(CONDITIONS.env, idle=None)},
            r"env\.idle=None; a robot that waits .* hold where actions are absolute .*env\.idle=\[0,0,0,hold\]",
        ),
        (
            {"env": EnvironmentSettings("pusht")},
            "cameras do not fit: the teacher sees|needs the package gym_pusht",
        ),
        ({"env": EnvironmentSettings("robotwin", rename={HEAD: TOP})}, r"needs RoboTwin 2.0 beside LeRobot"),
    ],
)
def test_asks_everything_before_it_plays(contenders, tmp_path, changes, message):
    conditions = Conditions(changes.get("env", CONDITIONS.env))
    played = {key: changes[key] for key in ("num_steps", "n_action_steps", "delay") if key in changes}
    contender = Contender("teacher", contenders[0].folder, **{"num_steps": 1, **played})
    with pytest.raises((ValueError, ModuleNotFoundError), match=message):
        simulate(
            conditions,
            [contender],
            changes.get("seeds", [1]),
            folder=tmp_path / "out",
            processes=changes.get("processes", 1),
        )
    assert not (tmp_path / "out").exists()


def test_a_name_is_one_policy_and_a_contender_plays_once(contenders, tmp_path):
    teacher, _, student = contenders
    with pytest.raises(ValueError, match="teacher names two policies"):
        simulate(CONDITIONS, [teacher, Contender("teacher", student.folder, 1)], [1], folder=tmp_path)
    with pytest.raises(
        ValueError, match=r"a contender stands twice in \['teacher, 2 steps', 'teacher, 2 steps'\]"
    ):
        simulate(CONDITIONS, [teacher, teacher], [1], folder=tmp_path)
