"""Several data sets as one: whose turn it is, which frame it is, and what must agree."""

import shutil
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from reflow.config.parts import Teacher, data_arguments
from reflow.data import (
    SAMPLE,
    VISIT,
    LeRobotDataModule,
    MixedOrder,
    Order,
    Source,
    Visit,
    data_content,
    sources_of,
)
from reflow.data.features import picture_size
from tests.builders import HEIGHT, TOP, WIDTH, make_dataset, repo_id
from tests.distill.conftest import composed

FRONT, SIDE = "observation.images.front", "observation.images.side"
Build = Callable[..., LeRobotDataModule]


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another data set of the robot: its camera has another name, and there is one more."""
    root = tmp_path_factory.mktemp("data") / "rollouts"
    return make_dataset(root, cameras=(FRONT, SIDE), episodes=3, frames=(8, 9, 10), seed=1)


@pytest.fixture
def build(policy: Any, preprocess: Any) -> Build:
    def build(*entries: dict[str, Any], **changes: Any) -> LeRobotDataModule:
        arguments: dict[str, Any] = {"batch_size": 4, "num_workers": 0, "mixture": entries}
        return LeRobotDataModule(policy.config, preprocess, **(arguments | changes))

    return build


def entry(root: Path, **more: Any) -> dict[str, Any]:
    return {"repo_id": repo_id(root), "root": str(root), **more}


def identities(batches: Any) -> list[tuple[int, int]]:
    return [
        pair for batch in batches for pair in zip(batch[SAMPLE].tolist(), batch[VISIT].tolist(), strict=True)
    ]


def test_a_mixture_of_one_is_that_one(build, demos):
    alone = build(mixture=None, repo_id=repo_id(demos), root=demos, seed=7)
    for weight in (None, 3.0):
        mixed = build(entry(demos, weight=weight), seed=7)
        assert identities(islice(mixed.train_dataloader(), 20)) == identities(
            islice(alone.train_dataloader(), 20)
        )
        assert identities(mixed.val_dataloader()) == identities(alone.val_dataloader())
        assert mixed.content == alone.content == data_content(demos)


@pytest.mark.parametrize("start", [0, 9, 25])
def test_the_order_of_one_data_set_is_the_one_it_always_was(start):
    assert MixedOrder([10], [None], 5).visits(start, 17) == Order(10, 5).visits(start, 17)
    assert MixedOrder([10], [2.5], 5).visits(start, 17) == Order(10, 5).visits(start, 17)


def test_samples_are_distinct_and_are_the_frames_that_they_say(build, demos, rollouts):
    data = build(entry(demos), entry(rollouts, rename={FRONT: TOP}))
    epoch = identities(islice(data.train_dataloader(), 1000 // 4))[: 36 + 17]
    assert sorted(epoch) == [(sample, 0) for sample in (*range(36), *range(46, 46 + 17))]
    assert sorted(identities(data.val_dataloader())) == [
        (sample, 0) for sample in (*range(36, 46), *range(46 + 17, 46 + 27))
    ]
    stock = [LeRobotDataset(repo_id(root), root=root) for root in (demos, rollouts)]
    for batch in islice(data.train_dataloader(), 6):
        for sample, picture in zip(batch[SAMPLE].tolist(), batch[TOP], strict=True):
            expected = stock[0][sample][TOP] if sample < 46 else stock[1][sample - 46][FRONT]
            assert torch.equal(picture, expected)
        assert SIDE not in batch  # one of them does not have it


def test_weights_are_shares_of_an_epoch(build, demos, rollouts):
    data = build(
        entry(demos, weight=1, episodes=[0, 1], val_episodes=[3]),
        entry(rollouts, weight=3, rename={FRONT: TOP}),
        batch_size=38,  # 21 rows of the one, 17 of the other
    )
    for batch in islice(data.train_dataloader(), 9):
        mine = int((batch[SAMPLE] < 46).sum())
        assert (mine, len(batch[SAMPLE]) - mine) == (10, 28)  # of 38 a quarter: 9.5
    often = Counter(sample for sample, _ in identities(islice(data.train_dataloader(), 17)))
    assert all(often[sample] == 28 for sample in range(46, 46 + 17))  # 17 epochs of 28 places over 17 rows
    assert {often[sample] for sample in range(21)} == {8, 9}  # 170 places over 21 rows


def test_a_visit_of_a_frame_never_comes_twice():
    order = MixedOrder([7, 5], [1, 4], 3)
    assert sum(order.shares) == 12
    visits = order.visits(0, 200)
    assert len(set(visits)) == 200
    for row in range(12):  # in a row: 0, 1, 2, ...
        mine = [visit.visit for visit in visits if visit.row == row]
        assert mine == sorted(mine) == list(range(len(mine)))
    assert order.most_visits(200) >= 1 + max(visit.visit for visit in visits)
    assert MixedOrder([10], [None], 0).most_visits(31) == 4


@pytest.mark.parametrize("start", [1, 11, 12, 40])
def test_the_order_is_a_function_of_the_place(start):
    order = MixedOrder([7, 5], [None, None], 3)
    assert order.visits(start, 30) == order.visits(0, start + 30)[start:]
    assert MixedOrder([7, 5], [None, None], 4).visits(0, 12) != order.visits(0, 12)
    assert sorted(order.visits(0, 12)) == [Visit(row, 0) for row in range(12)]


def test_ranks_and_resumption_see_the_same(build, demos, rollouts):
    entries = (entry(demos, weight=1), entry(rollouts, weight=2, rename={FRONT: TOP}))
    whole = identities(islice(build(*entries, batch_size=6).train_dataloader(), 9))
    shares = []
    for rank in range(2):
        data = build(*entries, batch_size=3)
        data.trainer = SimpleNamespace(
            global_step=4, accumulate_grad_batches=1, global_rank=rank, world_size=2
        )
        shares.append(identities(islice(data.train_dataloader(), 5)))
    assert [s[3 * step + i] for step in range(5) for s in shares for i in range(3)] == whole[24:]


def test_workers_and_preloading_change_nothing(build, demos, rollouts):
    entries = (entry(demos), entry(rollouts, rename={FRONT: TOP}))
    plain = list(build(*entries, with_actions=True).val_dataloader())
    for changes in ({"num_workers": 1}, {"preload": True}):
        for got, expected in zip(
            build(*entries, with_actions=True, **changes).val_dataloader(), plain, strict=True
        ):
            assert got.keys() == expected.keys()
            assert all(torch.equal(got[key], expected[key]) for key in (SAMPLE, TOP, "action"))


def test_saved_names_are_taken_and_explicit_ones_go_first(build, rollouts):
    stock = LeRobotDataset(repo_id(rollouts), root=rollouts)
    saved = {FRONT: TOP, "observation.images.gone": "observation.images.elsewhere"}
    for rename, seen in ((None, FRONT), ({FRONT: "observation.images.other", SIDE: TOP}, SIDE)):
        data = build(entry(rollouts, rename=rename), saved_rename=saved)
        batch = next(iter(data.train_dataloader()))
        assert torch.equal(batch[TOP][0], stock[int(batch[SAMPLE][0])][seen])


def test_a_change_in_any_of_them_is_other_data(build, demos, rollouts, tmp_path):
    own = Path(shutil.copytree(rollouts, tmp_path / "rollouts"))
    before = build(entry(demos), entry(own, rename={FRONT: TOP})).content
    assert before == build(entry(demos), entry(rollouts, rename={FRONT: TOP})).content
    assert before != build(entry(rollouts, rename={FRONT: TOP}), entry(demos)).content
    (own / "meta/info.json").write_text((own / "meta/info.json").read_text() + "\n")
    assert before != build(entry(demos), entry(own, rename={FRONT: TOP})).content


def test_the_command_line_takes_a_mixture():
    """With the teacher that comes with the package its own data would be taken otherwise."""
    config = composed(
        "data.mixture=[{repo_id: me/a, weight: 3}, {repo_id: me/b, root: 'my data', episodes: [0]}]"
    )
    arguments = data_arguments(config, Teacher())
    assert sources_of(arguments) == (
        Source("me/a", weight=3, where="data.mixture[0]"),
        Source("me/b", "my data", episodes=[0], where="data.mixture[1]"),
    )


# -- what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"neither data\.repo_id nor data\.mixture is given"),
        ({"mixture": []}, r"data\.mixture=\[\] names no data set"),
        (
            {"mixture": [{"repo_id": "a"}], "repo_id": "b", "episodes": [1]},
            r"data\.mixture and data\.repo_id, data\.episodes are both given",
        ),
        ({"mixture": ["a"]}, r"data\.mixture\[0\] is 'a'; allowed: {repo_id: \.\.\., root"),
        (
            {"mixture": [{"repo_id": "a"}, {"repo": "b"}]},
            r"data\.mixture\[1\] has \['repo'\]; allowed: repo_id, root",
        ),
        ({"mixture": [{"root": "b"}]}, r"data\.mixture\[0\]\.repo_id is missing"),
        (
            {"mixture": [{"repo_id": "a", "weight": "b"}]},
            r"data\.mixture\[0\]\.weight='b'; allowed: a number above 0, or null",
        ),
        (
            {"mixture": [{"repo_id": "a", "val_episodes": 3}]},
            r"data\.mixture\[0\]\.val_episodes=3; allowed: a list of episode numbers, or null",
        ),
        (
            {"mixture": [{"repo_id": "a", "rename": ["b"]}]},
            r"data\.mixture\[0\]\.rename=\['b'\]; allowed: camera names",
        ),
        ({"mixture": [{"repo_id": 7}]}, r"data\.mixture\[0\]\.repo_id=7; allowed: text"),
        ({"mixture": [{"repo_id": "a", "weight": 0}]}, r"data\.mixture\[0\]\.weight=0; allowed: more than 0"),
    ],
)
def test_mixtures_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        sources_of(arguments)


def test_one_data_set_is_one_source():
    assert sources_of({"repo_id": "a", "root": "b", "episodes": [1], "batch_size": 3}) == (
        Source("a", "b", episodes=[1]),
    )


def test_weights_that_cannot_be():
    with pytest.raises(ValueError, match=r"data\.mixture\[1\]\.weight is null, others are not"):
        MixedOrder([3, 4], [1.0, None], 0)
    with pytest.raises(ValueError, match=r"data\.mixture\[1\]\.weight=0\.001 is too small"):
        MixedOrder([3, 4], [1.0, 0.001], 0)


def test_an_error_names_the_entry(build, demos, tmp_path):
    with pytest.raises(ValueError, match=r"data\.mixture\[1\]\.root=.*gone is no LeRobotDataset v3"):
        build(entry(demos), entry(tmp_path / "gone"))
    with pytest.raises(ValueError, match=r"data\.mixture\[1\]\.episodes names \[9\]"):
        build(entry(demos), entry(demos, episodes=[9]))
    with pytest.raises(ValueError, match=r"data\.mixture\[0\]\.rename names \['x'\]"):
        build(entry(demos, rename={"x": "y"}))


def test_data_sets_must_agree(build, demos, tmp_path, monkeypatch, capsys):
    import tests.builders as builders

    slow = make_dataset(tmp_path / "slow", fps=5, frames=9)
    build(entry(demos), entry(slow))
    assert "warning: data set local/demos" in (said := capsys.readouterr().err)
    assert "differ: 10 and 5 frames a second" in said
    monkeypatch.setattr(builders, "HEIGHT", 2 * HEIGHT)
    tall = make_dataset(tmp_path / "tall", frames=9)
    with pytest.raises(
        ValueError,
        match=rf"data set local/demos .* and data set local/tall \(data\.mixture\[1\]\.root=.*\) differ: {TOP} is "
        rf"{HEIGHT}x{WIDTH} and {2 * HEIGHT}x{WIDTH}",
    ):
        build(entry(demos), entry(tall))


def test_joints_must_agree(policy, demos, tmp_path):
    """Also of a state that the policy does not read."""
    from reflow.data import open_sources
    from reflow.data.agree import _check_alike

    small = make_dataset(tmp_path / "small", state_dim=7, frames=9)
    sources = open_sources(sources_of({"mixture": [entry(demos), entry(small)]}))
    with pytest.raises(
        ValueError, match=r"differ: observation\.state of 14 and of 7; mix data of one robot only"
    ):
        _check_alike(*sources, policy.config)


@pytest.mark.parametrize(
    ("shape", "names", "size"),
    [
        ((72, 96, 3), ["height", "width", "channels"], (72, 96)),
        ((3, 72, 96), ["channels", "height", "width"], (72, 96)),
        ((3, 72, 96), ["channel", "height", "width"], (72, 96)),
        ((96, 72, 3), ["width", "height", "channel"], (72, 96)),
        ((3, 72, 96), None, (72, 96)),
        ((72, 96, 3), None, (72, 96)),
        ((3, 72, 96), {"axes": 1}, (72, 96)),
        ((1, 72, 96), ["a", "b", "c"], (72, 96)),
        ((3, 4, 3), None, (3, 4)),
    ],
)
def test_the_size_of_a_picture(shape, names, size):
    assert picture_size({"shape": shape, "names": names}) == size


def test_an_epoch_is_shuffled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for every batch: a hundred million rows take many seconds."""
    shuffled, epoch = list[tuple[int, int]](), Order.epoch

    def counted(self: Order, number: int) -> np.ndarray:
        shuffled.append((self.stream, number))
        return epoch(self, number)

    monkeypatch.setattr(Order, "epoch", counted)
    order = MixedOrder([10, 4], [None, None], 0)
    batches = [order.visits(place, 1) for place in range(42)]  # each of one set alone
    of_the_sets = [entry for entry in shuffled if entry[0] < 2]
    assert sorted(of_the_sets) == [(part, number) for part in (0, 1) for number in (0, 1, 2)]
    assert batches == [MixedOrder([10, 4], [None, None], 0).visits(place, 1) for place in range(42)]
