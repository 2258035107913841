"""The data module: what training sees, whoever reads it and wherever it goes on; and what it refuses."""

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from reflow.data import SAMPLE, VISIT, LeRobotDataModule, Order, load_metadata
from reflow.data.opening import video_backend
from reflow.policies import load_processors
from tests.builders import TASKS, TOP, make_dataset, repo_id

from .conftest import LENGTHS

STATE = "observation.state"
FRAMES = sum(LENGTHS)
Build = Callable[..., LeRobotDataModule]


@pytest.fixture
def build(demos: Path, policy: Any, preprocess: Any) -> Build:
    def build(**changes: Any) -> LeRobotDataModule:
        defaults = {"repo_id": repo_id(demos), "root": demos, "batch_size": 4, "num_workers": 0}
        return LeRobotDataModule(policy.config, changes.pop("preprocess", preprocess), **(defaults | changes))

    return build


def take(loader: Iterable[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return list(islice(loader, count))


def identities(batches: Iterable[dict[str, Any]]) -> list[tuple[int, int]]:
    return [
        pair for batch in batches for pair in zip(batch[SAMPLE].tolist(), batch[VISIT].tolist(), strict=True)
    ]


def assert_same(got: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, other[key]), key


@pytest.mark.parametrize("with_actions", [False, True])
def test_batches_went_through_the_preprocessor(build, demos, with_actions):
    data = build(with_actions=with_actions)
    batch = take(data.train_dataloader(), 1)[0]
    stock = LeRobotDataset(repo_id(demos), root=demos)
    rows = [stock[sample] for sample in batch[SAMPLE].tolist()]

    def normalised(key: str) -> torch.Tensor:
        mean, std = (torch.as_tensor(stock.meta.stats[key][name]).float() for name in ("mean", "std"))
        return (torch.stack([row[key] for row in rows]) - mean) / (std + 1e-8)

    torch.testing.assert_close(batch[STATE], normalised(STATE), rtol=1e-5, atol=1e-6)
    assert torch.equal(batch[TOP], torch.stack([row[TOP] for row in rows]))
    tokenizer = next(
        step.input_tokenizer for step in data.preprocess.steps if hasattr(step, "input_tokenizer")
    )
    words = [
        tokenizer.decode(ids[ids != tokenizer.pad_token_id]) for ids in batch["observation.language.tokens"]
    ]
    assert words == [f"{row['task']}\n" for row in rows]
    assert set(words) == {f"{task}\n" for task in TASKS}
    assert batch[VISIT].tolist() == [0, 0, 0, 0]
    if with_actions:
        torch.testing.assert_close(batch["action"][:, 0], normalised("action"), rtol=1e-5, atol=1e-6)
        assert batch["action"].shape == (4, 8, 14)
        assert batch["action_is_pad"].shape == (4, 8)
    else:
        assert "action_is_pad" not in batch


def test_training_follows_the_order_over_the_training_episodes(build):
    data = build(episodes=[1, 3], val_episodes=[0], seed=5)
    starts = [sum(LENGTHS[:episode]) for episode in range(5)]
    samples = [*range(starts[1], starts[2]), *range(starts[3], starts[4])]
    expected = [(samples[row], visit) for row, visit in Order(len(samples), 5).visits(0, 40)]
    assert identities(take(data.train_dataloader(), 10)) == expected


def test_training_and_held_out_frames_are_disjoint_and_complete(build):
    data = build()
    assert (data.sources[0].train, data.sources[0].held_out) == ([0, 1, 2], [3])
    train = {sample for sample, _ in identities(take(data.train_dataloader(), 9))}
    held_out = [sample for sample, _ in identities(data.val_dataloader())]
    assert train == set(range(FRAMES - LENGTHS[3]))
    assert sorted(held_out) == list(range(FRAMES - LENGTHS[3], FRAMES))
    assert held_out != sorted(held_out)  # mixed, so that the first batches speak for all
    assert held_out == [sample for sample, _ in identities(data.val_dataloader())]


@pytest.mark.parametrize(
    ("val_frames", "expected"),
    [(1, [0]), (3, [0, 4, 8]), (5, [0, 2, 4, 6, 8]), (10, range(10)), (99, range(10))],
)
def test_held_out_frames_are_spread_evenly_and_at_most_so_many(build, val_frames, expected):
    found = identities(build(val_frames=val_frames).val_dataloader())
    assert sorted(found) == [(FRAMES - LENGTHS[3] + row, 0) for row in expected]


def test_frames_near_a_look_come_more_often(build):
    """The policy plays all 8 steps of a chunk: it looks at frames 0 and 8 of an episode."""
    data = build(look_within=0, look_times=3, batch_size=1)
    starts = [sum(LENGTHS[:episode]) for episode in range(5)]
    often = {row for row in range(FRAMES) if (row - max(s for s in starts if s <= row)) % 8 == 0}
    epoch = take(data.train_dataloader(), starts[3] + 2 * len(often & set(range(starts[3]))))
    assert Counter(sample for sample, _ in identities(epoch)) == {
        row: 3 if row in often else 1 for row in range(starts[3])
    }
    held_out = [(row, visit) for row in range(starts[3], FRAMES) for visit in range(3 if row in often else 1)]
    assert sorted(identities(data.val_dataloader())) == held_out


def test_workers_change_nothing(build):
    """Two epochs and more, so that each worker meets the same frame again."""
    alone = build(num_workers=0, with_actions=True)
    shared = build(num_workers=2, with_actions=True)
    assert_same(take(shared.train_dataloader(), 20), take(alone.train_dataloader(), 20))
    assert_same(list(shared.val_dataloader()), list(alone.val_dataloader()))


def test_preloading_changes_nothing(build):
    decoded, preloaded = build(with_actions=True), build(with_actions=True, preload=True)
    assert_same(take(preloaded.train_dataloader(), 12), take(decoded.train_dataloader(), 12))


@pytest.mark.parametrize(("global_step", "accumulate", "seen"), [(0, 1, 0), (7, 1, 7), (3, 2, 6)])
def test_a_resumed_run_goes_on_with_the_batch_it_would_have_seen(build, global_step, accumulate, seen):
    """A step of the optimizer takes ``accumulate_grad_batches`` batches."""
    data = build()
    whole = take(data.train_dataloader(), 10)
    data.trainer = SimpleNamespace(
        global_step=global_step, accumulate_grad_batches=accumulate, global_rank=0, world_size=1
    )
    assert_same(take(data.train_dataloader(), 3), whole[seen : seen + 3])


def test_ranks_share_the_batches(build):
    data = build(batch_size=3)
    whole = identities(take(build(batch_size=6).train_dataloader(), 4))
    shares = []
    for rank in range(2):
        data.trainer = SimpleNamespace(
            global_step=0, accumulate_grad_batches=1, global_rank=rank, world_size=2
        )
        shares.append(identities(take(data.train_dataloader(), 4)))
    merged = [share[3 * step + i] for step in range(4) for share in shares for i in range(3)]
    assert merged == whole


class Recorder(L.LightningModule):
    """Notes the identities of what it is given to train on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, int]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        self.seen += identities([batch])
        return self.weight * 1.0

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """None; without one Lightning warns."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightning_resumes_with_the_very_next_batch(build, tmp_path, accumulate):
    def run(max_steps: int, checkpoint: Path | None = None) -> tuple[L.Trainer, list[tuple[int, int]]]:
        trainer = L.Trainer(
            accelerator="cpu",
            max_steps=max_steps,
            accumulate_grad_batches=accumulate,
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            default_root_dir=tmp_path,
        )
        module = Recorder()
        trainer.fit(module, build(), ckpt_path=checkpoint, weights_only=False if checkpoint else None)
        return trainer, module.seen

    _, whole = run(5)
    assert whole == identities(take(build().train_dataloader(), 5 * accumulate))
    trainer, first = run(2)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    _, rest = run(5, tmp_path / "last.ckpt")
    assert first + rest == whole


# -- what is refused


def test_a_policy_of_another_robot_is_refused(build, tmp_path):
    root = make_dataset(tmp_path / "small", action_dim=6, state_dim=6, episodes=2, frames=9)
    with pytest.raises(
        ValueError, match="action dimension does not fit: data set local/small has action of 6"
    ):
        build(repo_id=repo_id(root), root=root)


def test_a_renamed_camera_reaches_the_policy(build, teacher_folder, policy, tmp_path):
    front = "observation.images.front"
    root = make_dataset(tmp_path / "front", cameras=(front,), episodes=2, frames=9)
    own = {"repo_id": repo_id(root), "root": root}
    with pytest.raises(ValueError, match=rf"'data.rename={{{front}:{TOP}}}'"):
        build(**own)
    preprocess, _ = load_processors(teacher_folder, policy, rename={front: TOP})
    batch = take(build(**own, preprocess=preprocess, rename={front: TOP}).train_dataloader(), 1)[0]
    stock = LeRobotDataset(repo_id(root), root=root)
    assert torch.equal(batch[TOP][0], stock[batch[SAMPLE][0].item()][front])


def test_short_episodes_are_refused_or_allowed(build, tmp_path):
    root = make_dataset(tmp_path / "short", episodes=2, frames=5)
    own = {"repo_id": repo_id(root), "root": root, "with_actions": True}
    with pytest.raises(ValueError, match=r"chunk_size=8 .*has 5 frames"):
        build(**own)
    batch = take(build(**own, allow_short_episodes=True).train_dataloader(), 1)[0]
    assert batch["action_is_pad"].any(dim=1).all()


def test_an_empty_batch_is_refused(build):
    with pytest.raises(ValueError, match=r"data.batch_size is 0; allowed: 1 or more"):
        build(batch_size=0).train_dataloader()


@pytest.fixture
def copy(demos: Path, tmp_path: Path) -> Path:
    """A data set to break."""
    return Path(shutil.copytree(demos, tmp_path / "copy"))


def edit(root: Path, **changes: Any) -> None:
    file = root / "meta" / "info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_root_that_holds_no_data_set_is_refused(tmp_path):
    for root, what in (
        (tmp_path, "meta/info.json is missing"),
        (tmp_path / "nowhere", "there is no such folder"),
    ):
        with pytest.raises(FileNotFoundError, match=rf"data.root={root} is no LeRobotDataset v3: {what}"):
            load_metadata("a/b", root)


@pytest.mark.parametrize("repo", ["nobody/nothing", "no/such/name"])
def test_a_data_set_that_the_hub_does_not_give_is_refused_at_once(repo):
    start = time.monotonic()
    with pytest.raises(FileNotFoundError, match=rf"data.repo_id={repo} is neither in .* data.root=\.\.\."):
        load_metadata(repo, None)
    assert time.monotonic() - start < 5


def test_a_half_copied_data_set_is_refused(copy):
    (copy / "meta" / "tasks.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=rf"data.root={copy} is incomplete: .*copy the whole folder"):
        load_metadata("local/copy", copy)


def test_an_empty_data_set_is_refused(copy):
    edit(copy, total_episodes=0)
    with pytest.raises(ValueError, match=rf"data set local/copy \(data.root={copy}\) has no episode"):
        load_metadata("local/copy", copy)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            "v2.1",
            r"convert_dataset_v21_to_v30 --repo-id=local/copy --root='.*copy' --push-to-hub=false",
        ),
        ("v2.0", "codebase_version is v2.0, LeRobot reads v3.0; convert it to v2.1"),
        ("v9.0", "install the LeRobot it was made with"),
    ],
)
def test_a_data_set_of_an_older_lerobot_is_refused(copy, version, message):
    edit(copy, codebase_version=version)
    with pytest.raises(ValueError, match=message):
        load_metadata("local/copy", copy)


@pytest.mark.parametrize(("module", "expected"), [(None, "pyav"), (ModuleType("torchcodec"), "torchcodec")])
def test_the_decoder_is_the_one_that_works_here(monkeypatch, module, expected):
    monkeypatch.setitem(sys.modules, "torchcodec", module)
    assert video_backend.__wrapped__() == expected
