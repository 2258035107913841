"""Puts a policy, and a slice of demonstrations, among those that come with the package.

    python -m reflow.demo.embed policy=outputs/teacher/pretrained_model demonstrations=outputs/pick_demos
    python -m reflow.demo.embed policy=outputs/demo_best/pretrained_model name=student

The policy's VLM folder is named relative to the bundle, so that it may lie anywhere; reflow's loader resolves it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as parquet
import torch
from lerobot.utils.constants import ACTION, OBS_STATE
from omegaconf import DictConfig

from reflow.cli import command
from reflow.data.opening import load_dataset, load_metadata
from reflow.data.recording import EPISODES_FILE, Recorded, write_dataset
from reflow.demo import embedded
from reflow.demo.dataset import CAMERA, PICK
from reflow.errors import UserError
from reflow.files import read_json, write_json
from reflow.policies import find_folder, replace_folder
from reflow.policies.files import CONFIG, PREPROCESSOR, VLM
from reflow.policies.sums import write_sums
from reflow.schema import schema


def embed_policy(source: Path, target: Path) -> None:
    """Copies a policy folder, its VLM named relative to it."""

    def fill(staged: Path) -> None:
        shutil.copytree(source, staged, dirs_exist_ok=True)
        config = read_json(staged / CONFIG)
        config["vlm_model_name"] = VLM
        write_json(staged / CONFIG, config)
        processor = read_json(staged / PREPROCESSOR)
        for step in processor["steps"]:
            if "tokenizer_name" in step.get("config", {}):
                step["config"]["tokenizer_name"] = VLM
        write_json(staged / PREPROCESSOR, processor)
        write_sums(staged)

    replace_folder(target, fill)


def embed_slice(source: Path, target: Path, *, every: int, start_frames: int) -> None:
    """Copies a slice: every so many episodes whole, of the others the start, where the way on is chosen.

    Whole episodes show everything once; the starts show the one frame at which both arms may go, from many
    more positions of the cube.

    Args:
        source: recorded demonstrations.
        target: folder of the slice; replaced where it exists.
        every: one in so many episodes is kept whole.
        start_frames: frames kept of each of the others, 1 or more.
    """
    if every < 1 or start_frames < 1:
        raise UserError(f"every={every}, start_frames={start_frames}; allowed: 1 or more of each")
    episodes = load_metadata(embedded.REPO_ID, source, "demonstrations").total_episodes
    dataset = load_dataset(embedded.REPO_ID, source, range(episodes), "demonstrations")
    summaries = read_json(source / EPISODES_FILE)

    def kept(number: int, steps: int) -> int:
        return steps if number % every == 0 else min(start_frames, steps)

    def parts() -> Iterator[Recorded]:
        first = 0
        for number, summary in enumerate(summaries):
            items = [dataset[first + row] for row in range(kept(number, summary["steps"]))]
            first += summary["steps"]
            frames = torch.stack([item[CAMERA] for item in items]).permute(0, 2, 3, 1)
            yield Recorded(
                seed=summary["seed"],
                task=items[0]["task"],
                success=summary["success"],
                frames={CAMERA: (frames * 255.0).round().to(torch.uint8).numpy()},
                states=torch.stack([item[OBS_STATE] for item in items]).numpy(),
                actions=torch.stack([item[ACTION] for item in items]).numpy(),
                told={},  # the summary is copied below
            )

    with TemporaryDirectory() as folder:
        whole = write_dataset(Path(folder) / target.name, PICK, parts())
        kept_summaries = [
            summary | {"steps": kept(i, summary["steps"])} for i, summary in enumerate(summaries)
        ]
        write_json(whole / EPISODES_FILE, kept_summaries)
        _compact(whole)

        def fill(staged: Path) -> None:
            shutil.copytree(whole, staged, dirs_exist_ok=True)

        replace_folder(target, fill)


def _compact(root: Path) -> None:
    """Writes each parquet file as one row group without statistics: those of 300 groups hold 600 PNGs."""
    for file in root.rglob("*.parquet"):
        parquet.write_table(parquet.read_table(file), file, compression="snappy", write_statistics=False)


EMBED = schema(
    policy=str,
    name=str,
    demonstrations=str | None,
    whole_every=int,
    start_frames=int,
    run_dir=str | None,
)


@command("embed", EMBED, renamed={"target": "run_dir", "data": "demonstrations"})
def main(config: DictConfig) -> None:
    """Command-line entry."""
    assets = Path(config.run_dir) if config.run_dir is not None else embedded.ASSETS
    embed_policy(find_folder(config.policy, "policy"), assets / config.name)
    if config.demonstrations is not None:
        embed_slice(
            Path(config.demonstrations),
            assets / embedded.DATA.name,
            every=config.whole_every,
            start_frames=config.start_frames,
        )
    size = sum(file.stat().st_size for file in assets.rglob("*") if file.is_file())
    print(f"{assets}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
