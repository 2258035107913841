"""Rounds of playing and learning on the real task: each adds to what was there, and none is done twice."""

import os
from pathlib import Path

import pytest
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from reflow.endpoints.manifest import Manifest
from reflow.errors import UserError
from reflow.policies import fingerprint
from reflow.reports.folder import METRICS
from reflow.rounds import run_rounds
from tests.distill.conftest import composed

SMALL = (
    "rounds=2",
    "rollouts={env:pick,episodes:3,looks:2,between:1,box:96,processes:0}",
    "shared={fix:full32,data.val_frames:4,data.batch_size:2}",
    "pairs={draws:2,samples_per_shard:2,store:prefix}",
    "train={trainer.max_steps:2,trainer.val_check_interval:2,callbacks.progress:null,callbacks.throughput.skip:0}",
)


@pytest.mark.slow
def test_a_round_adds_to_those_before_and_none_is_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config = composed(*SMALL, f"run_dir={tmp_path / 'all'}", config_name="rounds")
    last = run_rounds(config)
    said = capsys.readouterr().out
    first, second = (tmp_path / "all" / f"round_{number}" for number in (0, 1))
    assert last == second / "student"
    assert (last / METRICS).is_file()
    sets = [LeRobotDataset("local/rollouts", root=one / "rollouts") for one in (first, second)]
    assert [one.num_episodes for one in sets] == [3, 3]
    assert fingerprint(first / "student" / "pretrained_model") != fingerprint(last / "pretrained_model")
    small, large = (Manifest.read(one / "pairs") for one in (first, second))
    assert len(large.layout.samples) > len(small.layout.samples)
    # The first round's full shards are the second's, the very files.
    full = len(small.layout.samples) // 2
    taken = len(small.layout.folders) * full
    assert f"{taken} shards are those of {first / 'pairs'}" in said
    names = [f"{folder}/{shard:05d}.safetensors" for folder in small.layout.folders for shard in range(full)]
    assert all(os.path.samefile(first / "pairs" / name, second / "pairs" / name) for name in names)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "all").rglob("*.safetensors")}
    assert run_rounds(config) == last
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "all").rglob("*.safetensors")}


def test_no_rounds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rounds=0; allowed: 1 or more"):
        run_rounds(composed("rounds=0", f"run_dir={tmp_path}", config_name="rounds"))


def test_keys_must_have_values(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"rollouts=pick; allowed: keys and values, as 'rollouts=\{key: value\}'"
    ):
        run_rounds(composed("rollouts=pick", f"run_dir={tmp_path}", config_name="rounds"))
