"""Files that would hurt whoever opens them, each with the reason it has to be refused with."""

import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from reflow.cli import build
from reflow.config.saved import read_saved
from reflow.data import load_metadata
from reflow.distill.checkpoints import AtomicCheckpointIO, whole_checkpoint
from reflow.endpoints import PairCache
from reflow.endpoints.shards import Seal
from reflow.files import read_json, read_metrics
from reflow.policies import find_folder, load_policy, load_processors
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.journal import read_episodes
from tests.endpoints.test_identity import MANIFEST
from tests.hostile.scene import Bomb, Scene, edit, safetensors

PRE, WEIGHTS = "policy_preprocessor.json", "model.safetensors"
INFO = "meta/info.json"
Attack = Callable[[Scene], object]


def section(make: Callable[[Scene], Any], key: str = "path") -> Attack:
    """A value in a section that is built."""
    return lambda scene: build({"_target_": "reflow.config.Teacher", key: make(scene)})


def leftover(scene: Scene) -> str:
    """What Hydra would resolve, to a target, after we have."""
    inner = f"{{_target_: pathlib.Path, _args_: ['{scene.marker}']}}"
    return f"${{oc.create:{{_target_: pathlib.Path.touch, _args_: [{inner}]}}}}"


def teacher(change: Callable[[Scene, Path], object]) -> Attack:
    """A policy folder, loaded as every command does."""

    def act(scene: Scene) -> None:
        folder = scene.teacher()
        change(scene, folder)
        found = find_folder(folder)
        load_processors(found, load_policy(found))

    return act


def step(make: Callable[[Scene, Path], dict[str, Any]]) -> Attack:
    """One more step in the preprocessor."""

    def change(scene: Scene, folder: Path) -> None:
        entry = make(scene, folder)
        edit(folder / PRE, lambda content: content["steps"].append(entry))

    return teacher(change)


def coded_tokenizer(scene: Scene, folder: Path) -> dict[str, Any]:
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "evil.py").write_text(scene.code)
    config = {"processor_class": "Evil", "auto_map": {"AutoProcessor": "evil.Evil"}}
    (tokenizer / "processor_config.json").write_text(json.dumps(config))
    settings = {"action_tokenizer_name": str(tokenizer), "trust_remote_code": True}
    return {"registry_name": "action_tokenizer_processor", "config": settings}


def adapter_of_a_module(scene: Scene, folder: Path) -> None:
    edit(folder / "config.json", lambda config: config.update(use_peft=True))
    save_file({"a": torch.zeros(1)}, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "megatron_config": {}, "megatron_core": scene.module()}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def weights(content: Callable[[Scene], bytes]) -> Attack:
    return teacher(lambda scene, folder: (folder / WEIGHTS).write_bytes(content(scene)))


def one(kind: str, shape: list[int], body: bytes = b"1234") -> bytes:
    return safetensors({"a": {"dtype": kind, "shape": shape, "data_offsets": [0, len(body)]}}, body)


def data(**changes: Any) -> Attack:
    """A data set whose ``info.json`` says otherwise."""

    def act(scene: Scene) -> None:
        root = scene.data()
        edit(root / INFO, lambda info: info.update(changes))
        load_metadata("local/set", root)

    return act


def camera_outside(scene: Scene) -> None:
    root = scene.data()
    shape = {"dtype": "video", "shape": [4, 4, 3], "names": None}
    path = "videos/{video_key}/{chunk_index}/{file_index}.mp4"
    edit(
        root / INFO,
        lambda info: info["features"].update({"../../secret": shape}) or info.update(video_path=path),
    )
    load_metadata("local/set", root)


def pickled_statistics(scene: Scene) -> None:
    root = scene.data()
    (root / "meta/stats.json").write_bytes(pickle.dumps(Bomb(scene.marker)))
    load_metadata("local/set", root)


def manifest(change: Callable[[Any], object]) -> Attack:
    """A pair cache whose manifest says otherwise."""

    def act(scene: Scene) -> None:
        MANIFEST.write(scene.here)
        edit(scene.here / "manifest.json", change)
        PairCache(scene.here)

    return act


def pickled_shard(scene: Scene) -> None:
    content = pickle.dumps(Bomb(scene.marker))
    seal = Seal(hashlib.sha256(content).hexdigest(), len(content))
    files = list(MANIFEST.layout.files)
    replace(MANIFEST, checksums=dict.fromkeys(files, seal)).write(scene.here)
    for name in files:
        (scene.here / name).parent.mkdir(exist_ok=True)
        (scene.here / name).write_bytes(content)
        (scene.here / name).with_suffix(".json").write_text(json.dumps(asdict(seal)))
    PairCache(scene.here).endpoints(torch.tensor([0]), torch.tensor([[0]]))


def checkpoint(
    content: Callable[[Scene], dict[str, Any]], writer: str = "one", reader: str = "one"
) -> Attack:
    def act(scene: Scene) -> None:
        path = scene.here / "last.ckpt"
        AtomicCheckpointIO(lambda: writer).save_checkpoint(content(scene), path)
        AtomicCheckpointIO(lambda: reader).load_checkpoint(path, weights_only=False)

    return act


def pickled_before_a_cut_one(scene: Scene) -> None:
    (scene.here / "last.ckpt").write_bytes(b"PK")
    torch.save({"global_step": Bomb(scene.marker)}, scene.here / "previous.ckpt")
    whole_checkpoint(scene.here)


def file(name: str, content: str | Callable[[Scene], str], read: Callable[[Path], object]) -> Attack:
    def act(scene: Scene) -> None:
        text = content if isinstance(content, str) else content(scene)
        (scene.here / name).write_text(text)
        read(scene.here)

    return act


def saved(content: str | Callable[[Scene], str]) -> Attack:
    return file("config.yaml", content, lambda here: read_saved(here, ("seed",), "reflow.train", "runs"))


LIGHTNING = {"pytorch-lightning_version": "2.6.4"}
DEEP = "[" * 100_000

ATTACKS: dict[str, tuple[Attack, str]] = {
    # configurations
    "a target": (
        lambda s: build(s.target),
        r"_target_=pathlib\.Path\.touch; allowed: .*REFLOW_TRUST=pathlib",
    ),
    "a target inside": (section(lambda s: s.target), r"_target_=pathlib\.Path\.touch; allowed"),
    "a target in a list": (section(lambda s: [[s.target]]), r"_target_=pathlib\.Path\.touch; allowed"),
    "a target beside a partial": (
        section(lambda s: {**s.target, "_partial_": True, "_recursive_": False}),
        r"_target_=pathlib\.Path\.touch; allowed",
    ),
    "a target that Hydra would resolve": (section(leftover), r"is an interpolation that is left over"),
    "a target that is no name": (
        lambda s: build({"_target_": ["os.system"]}),
        r"_target_=\['os\.system'\]; allowed",
    ),
    "a function of ours that no run is made of": (
        lambda s: build({"_target_": "reflow.files.replace_text", "path": str(s.marker), "text": ""}),
        r"_target_=reflow\.files\.replace_text; allowed",
    ),
    "what a module on the list imports": (
        lambda s: build(
            {"_target_": "lightning.pytorch.callbacks.model_checkpoint.os.makedirs", "name": str(s.marker)}
        ),
        r"is os\.makedirs, and not defined in lightning\.pytorch\.callbacks",
    ),
    "a module for an environment": (
        lambda s: EnvironmentSettings("pick", {}, discover_packages_path=s.module()).make_config(),
        r"discover_packages_path=reflow_hostile_module is not imported; .*REFLOW_TRUST=reflow_hostile_module",
    ),
    "an environment of the hub": (
        lambda s: EnvironmentSettings("isaaclab_arena", {"hub_path": "me/mine"}).make_config(),
        r"env\.type=isaaclab_arena is code .* never done here",
    ),
    "a saved configuration with a Python tag": (
        saved(lambda s: f"seed: !!python/object/apply:os.mkdir [{s.marker}]"),
        r"config\.yaml cannot be read .*python/object",
    ),
    "a saved configuration with aliases": (saved("a: &a [1, 2]\nseed: [*a, *a]"), r"it has aliases"),
    "a saved configuration too deep": (saved(DEEP), r"config\.yaml cannot be read"),
    # checkpoints
    "a checkpoint that is a pickle": (
        checkpoint(lambda s: LIGHTNING | {"loops": Bomb(s.marker)}),
        r"last\.ckpt holds more than tensors and plain values \(posix\.mkdir\)",
    ),
    "an older checkpoint that is a pickle": (
        pickled_before_a_cut_one,
        r"previous\.ckpt holds more than tensors and plain values",
    ),
    "a checkpoint of another run": (
        checkpoint(lambda s: dict(LIGHTNING), "one", "other"),
        r"last\.ckpt was written by another run than the one in this folder",
    ),
    # policies
    "a step by its class": (
        step(lambda s, _: {"class": f"{s.module()}.Evil", "config": {}}),
        r"names the class 'reflow_hostile_module\.Evil'; only steps of LeRobot's registry",
    ),
    "a step's state elsewhere": (
        step(lambda s, _: {"registry_name": "normalizer_processor", "state_file": "../../x.safetensors"}),
        r"state_file='\.\./\.\./x\.safetensors'; allowed: the name of a file beside it",
    ),
    "a tokenizer with code": (step(coded_tokenizer), r"Evil is code beside a model .*never run"),
    "an adapter that names a module": (
        teacher(adapter_of_a_module),
        r"adapter_config\.json has megatron_config",
    ),
    "weights that are a pickle": (
        weights(lambda s: pickle.dumps(Bomb(s.marker))),
        r"model\.safetensors is no whole safetensors file",
    ),
    "a header of 4 exabytes": (
        weights(lambda s: safetensors({}, length=2**62)),
        r"is no whole safetensors file .*header too large",
    ),
    "a header that is nested": (weights(lambda s: safetensors(b'{"a":' * 100_000)), r"recursion limit"),
    "a tensor of 16 exabytes": (
        weights(lambda s: one("F32", [2**62])),
        r"is no whole safetensors file .*overflow",
    ),
    "a type that nothing computes with": (
        weights(lambda s: one("F8_E8M0", [4])),
        r"a is of type F8_E8M0; allowed",
    ),
    "a configuration too deep": (
        teacher(lambda s, folder: (folder / "config.json").write_text(DEEP)),
        r"config\.json is no JSON",
    ),
    # data sets
    "tables above the data set": (
        data(data_path="../{chunk_index}/{file_index}.parquet"),
        r"data_path is '\.\./.*a path with .* inside the data set",
    ),
    "tables anywhere": (
        data(data_path="/{chunk_index}/{file_index}.parquet"),
        r"data_path is '/.* inside the data set",
    ),
    "a path that asks": (data(data_path="{chunk_index.__class__}/{file_index}"), r"data_path is .*__class__"),
    "a path of gigabytes": (
        data(data_path="{chunk_index:>99999999999}/{file_index}"),
        r"data_path is .*99999999999",
    ),
    "a camera above the data set": (
        camera_outside,
        r"the camera '\.\./\.\./secret' is no name of a folder inside",
    ),
    "statistics that are a pickle": (pickled_statistics, r"stats\.json is no text"),
    # pair caches
    "more samples than there are": (
        manifest(lambda m: m["layout"].update(samples=[[0, 2**60]], samples_per_shard=2**50)),
        r"manifest\.json is damaged .*observations in 1024 files; allowed",
    ),
    "more shards than seconds": (
        manifest(lambda m: m["layout"].update(samples=[[0, 10**9]], samples_per_shard=1)),
        r"manifest\.json is damaged .*in 1000000000 files; allowed",
    ),
    "samples out of order": (
        manifest(lambda m: m["layout"].update(samples=[[5, 9], [0, 3]])),
        r"run \[0, 3\] behind 9",
    ),
    "draws out of order": (
        manifest(lambda m: m["layout"].update(blocks=[[1, 2]])),
        r"blocks has the run \[1, 2\] behind 0",
    ),
    "a number as text": (
        manifest(lambda m: m["layout"].update(draws_at_once="2")),
        r"draws_at_once: Input should be a valid integer, it is '2'",
    ),
    "a shard elsewhere": (
        manifest(
            lambda m: m["checksums"].update(
                {"draws-00000-00002/../../x.safetensors": {"sha256": "", "bytes": 1}}
            )
        ),
        r"checksums has 'draws-00000-00002/\.\./\.\./x\.safetensors'",
    ),
    "a field of another type": (
        manifest(lambda m: m.update(about=[1])),
        r"about: Input should be .*it is \[1\]",
    ),
    "a field too many": (
        manifest(lambda m: m["identity"].update(_target_="x")),
        r"identity\._target_ is unknown",
    ),
    "a shard that is a pickle": (pickled_shard, r"shard .*00000\.safetensors cannot be read"),
    # what is read again
    "JSON too deep": (
        file("run.json", DEEP, lambda here: read_json(here / "run.json")),
        r"run\.json is no JSON",
    ),
    "a number without end": (
        file("run.json", "9" * 5_000, lambda here: read_json(here / "run.json")),
        r"run\.json is no JSON",
    ),
    "half a letter": (
        file("run.json", '"\\ud800"', lambda here: read_json(here / "run.json")),
        r"run\.json is no JSON",
    ),
    "a figure no float holds": (
        file("metrics.json", f'{{"a": {10**400}}}', lambda here: read_metrics(here / "metrics.json")),
        r"metrics\.json holds no names and numbers: a is '1000",
    ),
    "a journal too deep": (file("episodes.jsonl", DEEP + "\n", read_episodes), r"line 1 is no episode"),
}
