"""Filling a cache: the teacher's own endpoints, each look once, the same bytes whoever makes them, the cost told."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from reflow.data import Source, load_metadata
from reflow.distill.module import Distillation
from reflow.distill.student import make_student
from reflow.endpoints import Manifest, PairCache, Part, Work, missing_work, seal
from reflow.endpoints.cost import Cost, check_disk, measure_cost
from reflow.endpoints.shards import joined
from reflow.endpoints.wanted import Walks, decisive_versions, fit
from reflow.flow import PaddingRule, UniformTime, get_solver
from reflow.policies import CONTEXT, VISION, load_policy, with_velocity
from tests.builders import drawn, make_dataset, make_distillation, make_teacher_folder, repo_id
from tests.endpoints.conftest import LENGTHS, WALKS, content, fill_cache, filler, open_data, predictor

FRAMES = sum(LENGTHS[:3])
RULES = {
    "real": ("real", "real", "real"),
    "full": ("full", "real", "real"),
    "inert": ("real", "real", "real", True),
}


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "demos", frames=LENGTHS)


@pytest.fixture(scope="session")
def own_teacher(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "pretrained_model"
    return make_teacher_folder(folder, statistics=load_metadata(repo_id(demos), demos).stats, num_steps=4)


def live(folder: Path, rule: tuple[Any, ...], solver: str = "euler") -> Distillation:
    teacher = with_velocity(load_policy(folder), "shared")
    padding = PaddingRule(teacher.space, *rule)
    student = make_student(teacher, folder, padding)
    return make_distillation(
        teacher, student, padding, solver=get_solver(solver), time=UniformTime(), draws=4, seed=3
    )


@pytest.mark.parametrize(("rule", "solver"), [("real", "euler"), ("full", "heun"), ("inert", "euler")])
def test_an_endpoint_is_the_one_that_training_makes_live(
    own_teacher: Path, demos: Path, tmp_path: Path, rule: str, solver: str
) -> None:
    """To the last bit where the batch is the same; in another batch, sums are rounded in another order."""
    walks = Walks(solver, None, 3, "32-true", "highest")
    path = fill_cache(tmp_path / "cache", own_teacher, demos, rule=RULES[rule], walks=walks, draws=4)
    module, data = live(own_teacher, RULES[rule], solver), open_data(own_teacher, demos)
    layout = Manifest.read(path).layout
    portions = [samples for shard in range(layout.num_shards) for samples in layout.portions(shard)]
    for samples, batch in zip(portions, data.portions(portions), strict=True):
        context, _ = module.encode(batch)
        randn, _ = drawn(module, batch, 4)
        expected = module.endpoints(batch, context, randn)
        found = PairCache(path).endpoints(samples, torch.arange(4).expand(len(samples), -1))
        assert torch.equal(found, expected)

    for batch, _ in zip(data.train_dataloader(), range(9), strict=False):
        context, _ = module.encode(batch)
        randn, _ = drawn(module, batch, 2)
        draws = batch["visit"][:, None] * 2 + torch.arange(2)
        found = PairCache(path).endpoints(batch["sample"], draws)
        torch.testing.assert_close(found, module.endpoints(batch, context, randn), rtol=1e-6, atol=4e-6)


def test_what_is_stored_is_what_the_teacher_sees(own_teacher: Path, demos: Path, tmp_path: Path) -> None:
    stores = {"vision": "float32", "prefix": "bfloat16"}
    cache = PairCache(fill_cache(tmp_path / "cache", own_teacher, demos, stores=stores))
    teacher, data = load_policy(own_teacher), open_data(own_teacher, demos)
    samples = torch.tensor([31, 4, 18])
    (batch,) = data.portions([samples])
    with torch.no_grad():
        look, context = teacher.vision_features(batch), teacher.encode(batch)
    vision, prefix = (cache.stored(name, samples) for name in ("vision", "prefix"))
    assert vision.keys() == look.keys()
    torch.testing.assert_close(vision, look, rtol=1e-6, atol=1e-6)
    assert prefix["keys"].dtype == torch.bfloat16

    noise = torch.randn(3, 2, 8, 32, generator=torch.Generator().manual_seed(0))
    t = torch.full((3, 2), 0.5)
    with torch.no_grad():
        v_t = teacher.velocity(context, noise, t)
        by_vision = teacher.velocity(teacher.encode({**batch, VISION: vision}), noise, t)
        by_prefix = teacher.velocity(teacher.encode({CONTEXT: prefix}), noise, t)
    torch.testing.assert_close(by_vision, v_t, rtol=1e-5, atol=1e-5)
    assert 0 < (by_prefix - v_t).norm() / v_t.norm() < 0.01  # 8 bits of each number were kept


def test_each_observation_is_looked_at_once(own_teacher: Path, demos: Path, tmp_path: Path) -> None:
    stores = {"vision": "float32", "prefix": "float32"}
    filling, manifest = filler(tmp_path / "cache", own_teacher, demos, stores=stores, draws=9)
    manifest.write(tmp_path / "cache")
    seen: list[int] = []
    eye = filling.teacher.policy.model.vlm_with_expert.get_vlm_model().vision_model
    eye.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(len(kwargs.get("pixel_values", args[0] if args else None))),
        with_kwargs=True,
    )
    predictor(tmp_path / "cache").predict(filling, return_predictions=False)
    assert sum(seen) == FRAMES


def test_more_is_added_and_what_is_there_is_left_alone(
    own_teacher: Path, demos: Path, tmp_path: Path
) -> None:
    path = fill_cache(tmp_path / "cache", own_teacher, demos, draws=4)
    before = content(path)
    fill_cache(path, own_teacher, demos, draws=8)
    fill_cache(path, own_teacher, demos, draws=2, stores={"vision": "float16"})
    after = content(path)
    assert {name for name in before if after[name] != before[name]} == {"manifest.json"}
    cache = PairCache(path)
    assert (cache.draws, cache.stores) == (8, {"vision": "float16"})

    at_once = PairCache(fill_cache(tmp_path / "other", own_teacher, demos, draws=8))
    samples = torch.tensor([0, 35, 20])
    draws = torch.tensor([[7, 0], [3, 4], [5, 2]])  # a visit may meet draws of both folders
    assert torch.equal(cache.endpoints(samples, draws), at_once.endpoints(samples, draws))


def test_parts_leave_the_same_bytes_as_one(own_teacher: Path, demos: Path, tmp_path: Path) -> None:
    stores = {"vision": "float32", "prefix": "float32"}
    one = fill_cache(tmp_path / "one", own_teacher, demos, stores=stores)
    for number in (3, 1, 2):
        path = fill_cache(tmp_path / "parts", own_teacher, demos, stores=stores, part=Part(number, 3))
    assert content(path) == content(one)


def test_an_interrupted_fill_goes_on(own_teacher: Path, demos: Path, tmp_path: Path) -> None:
    one = fill_cache(tmp_path / "one", own_teacher, demos)
    path = tmp_path / "own"
    filling, manifest = filler(path, own_teacher, demos)
    manifest.write(path)
    trainer = predictor(path)
    trainer.limit_predict_batches = 5  # one shard of three sub-batches, and a half
    trainer.predict(filling, return_predictions=False)
    assert [work.shard for work in missing_work(path, manifest, Part())] == [1, 2, 3]
    assert Manifest.read(path).complete == set()
    first = (path / "draws-00000-00006" / "00000.safetensors").stat().st_mtime_ns
    fill_cache(path, own_teacher, demos)
    assert content(path) == content(one)
    assert (path / "draws-00000-00006" / "00000.safetensors").stat().st_mtime_ns == first


def test_a_teacher_that_gives_no_number_is_refused(own_teacher: Path, demos: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(own_teacher, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    save_file(
        {k: torch.full_like(v, 3e38) if "action_out_proj" in k else v for k, v in weights.items()},
        broken / "model.safetensors",
    )
    with pytest.raises(
        ValueError, match=r"draws-00000-00006: endpoint of samples \[0, 1, 2, 3\] is not finite"
    ):
        fill_cache(tmp_path / "cache", broken, demos)
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["manifest.json"]


def test_sub_batches_of_different_length_are_joined() -> None:
    one, two = torch.ones(2, 3, 4), torch.ones(1, 5, 4)
    found = joined([one, two])
    assert found.shape == (3, 5, 4)
    assert torch.equal(found[:2, :3], one)
    assert not found[:2, 3:].any()
    assert torch.equal(found[2:], two)


@pytest.mark.parametrize("draws", [1, 6, 11])
def test_the_disk_it_takes_is_told_exactly(
    own_teacher: Path, demos: Path, tmp_path: Path, draws: int
) -> None:
    path = tmp_path / "cache"
    filling, manifest = filler(path, own_teacher, demos, draws=draws, stores={"vision": "bfloat16"})
    cost = measure_cost(predictor(path), filling)
    assert cost.exact
    assert cost.shards == 4
    assert cost.seconds > 0
    manifest.write(path)
    predictor(path).predict(filling, return_predictions=False)
    assert cost.bytes == sum(len(whole) for name, whole in content(path).items() if name != "manifest.json")
    filling.work = [Work(3, ("vision",))]  # and of what is still missing only
    assert measure_cost(predictor(path), filling).bytes == sum(
        (path / "vision" / f"00003.{kind}").stat().st_size for kind in ("json", "safetensors")
    )


def test_stored_prefixes_are_an_estimate(own_teacher: Path, demos: Path, tmp_path: Path) -> None:
    filling, _ = filler(tmp_path / "cache", own_teacher, demos, stores={"prefix": "float16"})
    cost = measure_cost(predictor(tmp_path / "cache"), filling)
    assert not cost.exact
    assert "4 shards to make: about " in str(cost)


def test_nothing_to_do_costs_nothing(own_teacher: Path, demos: Path, tmp_path: Path) -> None:
    path = fill_cache(tmp_path / "cache", own_teacher, demos)
    filling, _ = filler(path, own_teacher, demos)
    assert measure_cost(predictor(path), filling) == Cost(0, 0, True, 0.0)


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    cost = Cost(3, 2_500_000_000, True, 10.0)
    check_disk(tmp_path / "not" / "yet" / "there", Cost(1, 1, True, 1.0))
    check_disk(tmp_path, cost, free=2_500_000_000)
    with pytest.raises(ValueError, match=r"takes 2.5 GB more, .* has 1 kB free; .*run_dir=.*store=.*draws="):
        check_disk(tmp_path, cost, free=1000)


# -- a cache that a run may learn from, or not


@pytest.fixture(scope="session")
def filled(own_teacher: Path, demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    stores = {"vision": "float32", "prefix": "float32"}
    return fill_cache(tmp_path_factory.mktemp("pairs") / "cache", own_teacher, demos, stores=stores)


def ask(filled: Path, folder: Path, root: Path, **changes: Any) -> PairCache:
    teacher = with_velocity(load_policy(folder), changes.pop("velocity", "shared"))
    rule = PaddingRule(teacher.space, *changes.pop("rule", ("full", "full", "full")))
    walks = {entry: changes.pop(entry, getattr(WALKS, entry)) for entry in WALKS.__dataclass_fields__}
    names = ("trained", "stored_precision")
    kept = {name: changes.pop(name) for name in names if name in changes}
    source = Source(repo_id(root), root, **changes)
    return fit(filled, teacher, folder, rule, [source], Walks(**walks), **kept)


def test_a_cache_that_fits_is_opened(filled: Path, own_teacher: Path, demos: Path) -> None:
    cache = ask(filled, own_teacher, demos)
    assert cache.stores.keys() == {"vision", "prefix"}
    ask(filled, own_teacher, demos, precision=32, rule=("real", "real", "real", True), num_steps=4)
    ask(filled, own_teacher, demos, episodes=[0, 2], val_episodes=[1])  # part of what is there


def test_rounding_in_storage_has_to_be_asked_for(filled: Path, own_teacher: Path, demos: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"pairs\.precision=bfloat16, but prefix is stored as float32 in .*accept its rounding "
        r"\(pairs\.precision=float32\), or make a cache with store_precision=bfloat16",
    ):
        ask(filled, own_teacher, demos, stored_precision="bfloat16")


def test_a_student_that_encodes_for_itself_takes_no_prefix(
    filled: Path, own_teacher: Path, demos: Path
) -> None:
    assert ask(filled, own_teacher, demos, trained=("velocity", "state_proj")).stores.keys() == {"vision"}
    assert ask(filled, own_teacher, demos, trained=("velocity", "vision")).stores.keys() == set()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 4}, "seed: 3 in the cache, 4 asked for"),
        ({"solver": "heun"}, "solver: euler in the cache, heun asked for"),
        ({"num_steps": 5}, "num_steps: 4 in the cache, 5 asked for"),
        ({"precision": "bf16"}, "precision: 32-true in the cache, bf16-mixed asked for"),
        ({"matmul_precision": "high"}, "matmul_precision: highest in the cache, high asked for"),
        ({"velocity": "stock"}, "velocity: shared in the cache, stock asked for"),
        ({"rule": ("real", "real", "real")}, "teacher_noise: full in the cache, real asked for"),
        ({"rename": {"a": "b"}}, "rename: {} in the cache, {'a': 'b'} asked for"),
        ({"val_episodes": [0]}, r"lacks 10 of the 34 observations asked for, of episodes \[3\]"),
    ],
)
def test_a_cache_of_other_pairs_is_refused(
    filled: Path, own_teacher: Path, demos: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ask(filled, own_teacher, demos, **changes)


def test_another_teacher_and_other_data_are_refused_together(
    filled: Path, own_teacher: Path, demos: Path, tmp_path: Path
) -> None:
    other = make_teacher_folder(
        tmp_path / "teacher", statistics=load_metadata(repo_id(demos), demos).stats, num_steps=4, seed=1
    )
    data = Path(shutil.copytree(demos, tmp_path / demos.name))
    info = data / "meta" / "info.json"
    info.write_text(info.read_text() + "\n")
    with pytest.raises(
        ValueError, match=r"(?s)\n  teacher: .*teacher.path=.*\n  data_content: .*data.root=\.\.\."
    ):
        ask(filled, other, data)


def test_another_processor_is_another_teacher(
    filled: Path, own_teacher: Path, demos: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(own_teacher, tmp_path / "teacher"))
    file = other / "policy_preprocessor.json"
    file.write_text(file.read_text() + "\n")
    with pytest.raises(ValueError, match=r"\n  teacher: "):
        ask(filled, other, demos)


def test_other_libraries_are_worth_a_warning(
    filled: Path, own_teacher: Path, demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path(shutil.copytree(filled, tmp_path / "own"))
    text = (own / "manifest.json").read_text()
    there = decisive_versions()["torch"]
    (own / "manifest.json").write_text(text.replace(f'"torch": "{there}"', '"torch": "1.0"'))
    ask(own, own_teacher, demos)
    assert (
        f"warning: {own} was made with other versions (torch 1.0 then, {there} now)"
        in capsys.readouterr().err
    )


def test_sealing_again_changes_nothing(filled: Path) -> None:
    before = (filled / "manifest.json").stat().st_mtime_ns
    seal(filled)
    assert (filled / "manifest.json").stat().st_mtime_ns == before
