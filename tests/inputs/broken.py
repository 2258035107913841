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


def no_column(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda whole: whole.drop_columns([name])


def one_value(name: str, row: int, value: Any) -> Callable[[pa.Table], pa.Table]:
    def act(whole: pa.Table) -> pa.Table:
        values = whole.column(name).to_pylist()
        values[row] = value
        return whole.set_column(whole.schema.get_field_index(name), name, pa.array(values))

    return act


def at(place: int, value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def act(x: torch.Tensor) -> torch.Tensor:
        x[place] = value
        return x

    return act


def put(row: int, place: int, value: float) -> Callable[[list[Any]], object]:
    return lambda values: values[row].__setitem__(place, value)


def located(episode: int, frame: int) -> str:
    return rf"episode {episode}\b.*frame {frame}\b|frame {frame}\b.*episode {episode}\b"


def adapter(*halves: str) -> Break:
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


def no_vlm(folder: Path) -> None:
    shutil.rmtree(folder / "vlm")
    edited(CONFIG, lambda config: config.update(vlm_model_name="nowhere/vlm"))(folder)
