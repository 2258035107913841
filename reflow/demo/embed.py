"""Puts a teacher and a slice of its demonstrations where the embedded default is looked for.

    python -m reflow.demo.embed teacher=outputs/teacher/pretrained_model data=outputs/pick_demos

The slice is cut by LeRobot's own dataset tools. The teacher's VLM folder is named relative to the bundle, so
that it may lie anywhere; reflow's loader resolves it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import hydra
from lerobot.datasets.dataset_tools import split_dataset
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from omegaconf import DictConfig

from reflow.config_path import CONFIG_DIR
from reflow.demo import embedded
from reflow.policies import find_folder, replace_folder
from reflow.policies.folder import CONFIG, PREPROCESSOR, VLM


def embed_teacher(source: Path, target: Path) -> None:
    """Copies a policy folder, its VLM named relative to it."""

    def fill(staged: Path) -> None:
        shutil.copytree(source, staged, dirs_exist_ok=True)
        config = json.loads((staged / CONFIG).read_text())
        config["vlm_model_name"] = VLM
        (staged / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        processor = json.loads((staged / PREPROCESSOR).read_text())
        for step in processor["steps"]:
            if "tokenizer_name" in step.get("config", {}):
                step["config"]["tokenizer_name"] = VLM
        (staged / PREPROCESSOR).write_text(json.dumps(processor, indent=2) + "\n")

    replace_folder(target, fill)


def embed_slice(source: Path, target: Path, episodes: int) -> None:
    """Copies the first ``episodes`` episodes as a LeRobotDataset of its own."""
    dataset = LeRobotDataset(embedded.REPO_ID, root=source)
    with TemporaryDirectory() as folder:
        split_dataset(dataset, {"slice": list(range(episodes))}, output_dir=folder)

        def fill(staged: Path) -> None:
            shutil.copytree(Path(folder) / "slice", staged, dirs_exist_ok=True)
            attempts = json.loads((source / "meta" / "demonstrations.json").read_text())
            (staged / "meta" / "demonstrations.json").write_text(
                json.dumps(attempts[:episodes], indent=1) + "\n"
            )

        replace_folder(target, fill)


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="embed")
def main(config: DictConfig) -> None:
    """Command-line entry."""
    assets = Path(config.target) if config.target is not None else embedded.TEACHER.parent
    embed_teacher(find_folder(config.teacher, "teacher"), assets / embedded.TEACHER.name)
    embed_slice(Path(config.data), assets / embedded.DATA.name, config.episodes)
    size = sum(file.stat().st_size for file in assets.rglob("*") if file.is_file())
    print(f"{assets}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
