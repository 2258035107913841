"""Ways to break a policy folder and a data set that people have met, each a function of a whole one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

Break = Callable[[Path], object]
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 100\n"
CONFIG, WEIGHTS, PRE, POST = (
    "config.json",
    "model.safetensors",
    "policy_preprocessor.json",
    "policy_postprocessor.json",
)


def cut(name: str, share: float = 0.5) -> Break:
    """A download that broke."""

    def act(folder: Path) -> None:
        file = next(folder.glob(name))
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])

    return act


def pointer(name: str) -> Break:
    """A clone without ``git lfs pull``."""
    return lambda folder: next(folder.glob(name)).write_text(LFS)


def without(name: str) -> Break:
    """A copy that was not whole."""

    def act(folder: Path) -> None:
        path = next(folder.glob(name))
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return act


def edited(name: str, change: Callable[[Any], object]) -> Break:
    """Another version, or an editor's mistake."""

    def act(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return act


def statistics(key: str, change: Callable[[torch.Tensor], torch.Tensor], which: str = "*") -> Break:
    """Statistics that went wrong, in both processors or in one."""

    def act(folder: Path) -> None:
        for file in folder.glob(f"policy_{which}processor_step_*normalizer*.safetensors"):
            tensors = load_file(file)
            if key in tensors:
                tensors[key] = change(tensors[key].clone()).contiguous()
                save_file(tensors, file)

    return act


def column(name: str, change: Callable[[list[Any]], object]) -> Break:
    """Values of a data set's table."""

    def act(folder: Path) -> None:
        file = next(folder.glob("data/*/*.parquet"))
        table = pq.read_table(file)
        values = table.column(name).to_pylist()
        change(values)
        place = table.schema.get_field_index(name)
        kind = table.schema.field(name).type
        if pa.types.is_fixed_size_list(kind):
            kind = pa.list_(kind.value_type, kind.list_size)
        pq.write_table(table.set_column(place, name, pa.array(values, kind)), file)

    return act


def table(name: str, change: Callable[[pa.Table], pa.Table]) -> Break:
    """Another table in the place of a file of a data set."""

    def act(folder: Path) -> None:
        file = next(folder.glob(name))
        pq.write_table(change(pq.read_table(file)), file)

    return act


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Break:
    """Weights that went wrong."""

    def act(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return act


def step(name: str, **settings: Any) -> Break:
    """Other settings of a step of the preprocessor."""

    def change(content: Any) -> None:
        for entry in content["steps"]:
            if entry["registry_name"] == name:
                entry["config"] |= settings

    return edited(PRE, change)


def _no_column(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda whole: whole.drop_columns([name])


def _one_value(name: str, row: int, value: Any) -> Callable[[pa.Table], pa.Table]:
    def act(whole: pa.Table) -> pa.Table:
        values = whole.column(name).to_pylist()
        values[row] = value
        return whole.set_column(whole.schema.get_field_index(name), name, pa.array(values))

    return act


def _at(place: int, value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def act(x: torch.Tensor) -> torch.Tensor:
        x[place] = value
        return x

    return act


def _set(row: int, place: int, value: float) -> Callable[[list[Any]], object]:
    return lambda values: values[row].__setitem__(place, value)


def _where(episode: int, frame: int) -> str:
    return rf"episode {episode}\b.*frame {frame}\b|frame {frame}\b.*episode {episode}\b"


def _adapter(*halves: str) -> Break:
    """What LeRobot writes for a run with PEFT, whose base is on another machine."""

    def act(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        edited(CONFIG, lambda config: config.update(use_peft=True))(folder)
        settings = {"peft_type": "LORA", "r": 4, "target_modules": ["state_proj"]}
        settings["base_model_name_or_path"] = "me/base"
        (folder / "adapter_config.json").write_text(json.dumps(settings))
        shapes = {"lora_A": (4, 32), "lora_B": (32, 4)}
        prefix = "base_model.model.model.state_proj"
        tensors = {f"{prefix}.{half}.weight": torch.zeros(shapes[half]) for half in halves}
        save_file(tensors, folder / "adapter_model.safetensors")

    return act


def _no_vlm(folder: Path) -> None:
    shutil.rmtree(folder / "vlm")
    edited(CONFIG, lambda config: config.update(vlm_model_name="nowhere/vlm"))(folder)


POLICIES: dict[str, tuple[Break, str]] = {
    "configuration cut": (cut(CONFIG), r"config\.json is no JSON"),
    "preprocessor empty": (cut(PRE, 0), r"policy_preprocessor\.json is no JSON"),
    "postprocessor cut": (cut(POST), r"policy_postprocessor\.json is no JSON"),
    "weights cut": (cut(WEIGHTS), r"model\.safetensors"),
    "weights empty": (cut(WEIGHTS, 0), r"model\.safetensors"),
    "weights a pointer": (pointer(WEIGHTS), r"model\.safetensors.*git lfs pull"),
    "statistics a pointer": (pointer("policy_pre*normalizer*.safetensors"), r"normalizer.*git lfs pull"),
    "no weights": (without(WEIGHTS), r"model\.safetensors missing"),
    "no statistics": (without("policy_pre*normalizer*.safetensors"), r"normalizer\S*\.safetensors"),
    "no preprocessor": (without(PRE), r"policy_preprocessor\.json missing"),
    "a NaN in the actions' mean": (statistics("action.mean", _at(3, torch.nan)), r"action\.mean.*nan"),
    "an infinity in the states' spread": (
        statistics("observation.state.std", _at(0, torch.inf)),
        r"observation\.state\.std.*inf",
    ),
    "one mean for all joints": (
        statistics("action.mean", lambda x: x[:1]),
        r"action.*(\b1\b.*\b14\b|\b14\b.*\b1\b|of another size)",
    ),
    "half the joints": (
        statistics("action.std", lambda x: x[:7]),
        r"action.*(\b7\b.*\b14\b|\b14\b.*\b7\b|of another size)",
    ),
    "processors that disagree": (statistics("action.std", lambda x: 2 * x, "post"), r"action\.std"),
    "a step of a plugin": (
        edited(PRE, lambda c: c["steps"].insert(1, {"registry_name": "my_step", "config": {}})),
        r"my_step",
    ),
    "a step by its class": (
        edited(PRE, lambda c: c["steps"].insert(0, {"class": "os.system"})),
        r"os\.system",
    ),
    "another policy": (edited(CONFIG, lambda c: c.update(type="act")), r"act"),
    "a field of the future": (edited(CONFIG, lambda c: c.update(think_twice=3)), r"think_twice"),
    "half an adapter": (_adapter("lora_A"), r"adapter_model\.safetensors.*lora_B"),
    "an adapter without its base": (_adapter("lora_A", "lora_B"), r"adapter_config\.json.*me/base"),
    "a spread below zero": (statistics("action.std", lambda x: -x), r"action\.std"),
    "statistics in two dimensions": (statistics("action.std", lambda x: x[None]), r"action\.std"),
    "weights with a NaN": (
        weights(lambda w: w["model.action_out_proj.weight"].__setitem__((0, 0), torch.nan)),
        r"model\.action_out_proj\.weight holds 1 value that is NaN",
    ),
    "a number that is null": (edited(CONFIG, lambda c: c.update(num_steps=None)), r"num_steps is None"),
    "no camera": (
        edited(CONFIG, lambda c: c["input_features"].pop("observation.images.top")),
        r"input_features has no camera",
    ),
    "no action": (edited(CONFIG, lambda c: c.update(output_features={})), r"output_features has no action"),
    "a shape that is none": (
        edited(CONFIG, lambda c: c["input_features"]["observation.state"].update(shape="14")),
        r"shape of observation\.state.*'14'",
    ),
    "a chunk longer than planned": (
        edited(CONFIG, lambda c: c.update(n_action_steps=100)),
        r"LeRobot \S+ refuses it \(ValueError: .*100",
    ),
    "no tokenizer's step": (
        edited(
            PRE, lambda c: c.update(steps=[s for s in c["steps"] if "tokenizer" not in s["registry_name"]])
        ),
        r"no step tokenizer_processor",
    ),
    "nothing to normalise": (step("normalizer_processor", features={}), r"observation\.state is not among"),
    "another VLM": (
        lambda folder: (folder / "vlm/config.json").write_text('{"model_type": "llama"}'),
        r"makes no policy of it .*text_config",
    ),
    "a tokenizer that is gone": (_no_vlm, r"nowhere/vlm"),
}
"""What is done to the folder, and what the error has to name."""

DATA: dict[str, tuple[Break, str]] = {
    "no table": (without("data"), r"data/"),
    "table a pointer": (pointer("data/*/*.parquet"), r"\.parquet.*git lfs pull"),
    "table cut": (cut("data/*/*.parquet"), r"\.parquet"),
    "metadata cut": (cut("meta/info.json"), r"info\.json is no JSON"),
    "no episodes": (without("meta/episodes"), r"meta/episodes|episodes"),
    "episodes a pointer": (pointer("meta/episodes/*/*.parquet"), r"git lfs pull"),
    "more episodes promised": (
        edited("meta/info.json", lambda c: c.update(total_episodes=6, total_frames=72)),
        r"6.* 4\b|4.* 6\b",
    ),
    "an older version": (
        edited("meta/info.json", lambda c: c.update(codebase_version="v2.1")),
        r"v2\.1.*convert|convert.*",
    ),
    "a feature without a shape": (
        edited("meta/info.json", lambda c: c["features"]["observation.state"].update(shape=[])),
        r"features\.observation\.state\.shape is \[\]",
    ),
    "statistics of half the joints": (
        edited("meta/stats.json", lambda c: c["action"].update(mean=c["action"]["mean"][:7])),
        r"stats\.json: action\.mean is 7 values; 14",
    ),
    "an episode that begins elsewhere": (
        table("meta/episodes/*/*.parquet", _one_value("dataset_from_index", 1, 900)),
        r"dataset_from_index of row 1 is 900.* should be 12",
    ),
    "no files of episodes": (
        table("meta/episodes/*/*.parquet", _no_column("data/file_index")),
        r"no column data/file_index",
    ),
    "frames in another order": (column("index", lambda v: v.reverse()), r"frame 0 of episode 0 .*index\W+47"),
    "a frame without its number": (
        column("task_index", lambda v: v.__setitem__(3, None)),
        r"column task_index has 1 missing value",
    ),
    "tasks without words": (
        table("meta/tasks.parquet", lambda whole: whole.replace_schema_metadata(None)),
        r"tasks\.parquet has 0 in the place of a task's words",
    ),
    "a NaN in a state": (column("observation.state", _set(5, 2, float("nan"))), _where(0, 5)),
    "an infinity in an action": (column("action", _set(40, 1, float("inf"))), _where(3, 4)),
    "a state that is missing": (column("observation.state", lambda v: v.__setitem__(13, None)), r"episode 1"),
}

VIDEO: dict[str, tuple[Break, str]] = {
    "video cut": (cut("videos/*/*/*.mp4", 0.3), r"\.mp4"),
    "video empty": (cut("videos/*/*/*.mp4", 0), r"\.mp4"),
    "video a pointer": (pointer("videos/*/*/*.mp4"), r"\.mp4.*git lfs pull"),
    "a frame at another time": (
        column("timestamp", lambda v: v.__setitem__(3, 99.0)),
        r"timestamp of episode 0, frame 3 is 99 seconds.*0\.3",
    ),
    "a frame at no time": (
        column("timestamp", lambda v: v.__setitem__(3, None)),
        r"timestamp of episode 0, frame 3 is nan",
    ),
    "no videos": (without("videos"), r"videos"),
}
