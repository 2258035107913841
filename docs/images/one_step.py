"""Draws one_step.png, the picture of the README: the flow of one observation, and success in the simulator.

    .venv/bin/python docs/images/one_step.py

Trajectories are computed here, from the policies that come with the package. Success is quoted from
docs/evaluation.md: of 3,179 paired episodes, the teacher in one step of 1,000 others.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import io
from pathlib import Path

import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image

from reflow.data import SAMPLE, VISIT, LeRobotDataModule
from reflow.demo.embedded import DATA, REPO_ID, policy_path
from reflow.flow import EULER, Draws, trajectory
from reflow.policies import find_folder, load_policy, load_processors
from reflow.reports.theme import color, drawing

NOISES = 40
SUCCESS = (  # title, percent, its 95 % Wilson interval
    ("teacher, 10 steps", 91.1, 90.1, 92.0),
    ("teacher, 1 step", 7.6, 6.1, 9.4),
    ("student, 1 step", 91.3, 90.3, 92.3),
)


@torch.no_grad()
def fans():
    """Trajectories of one joint by title, ``[noises, steps + 1]``; which way each noise goes; the joint's name."""
    folder = find_folder(policy_path(None))
    teacher, student = (load_policy(find_folder(policy_path(path))) for path in (None, "embedded/student"))
    preprocess, _ = load_processors(folder, teacher)
    data = LeRobotDataModule(
        teacher.config, preprocess, repo_id=REPO_ID, root=DATA, batch_size=1, num_workers=0, val_frames=8
    )
    held_out, frames = data.val_dataloader(), data.held_out.frames
    batch = held_out.collate_fn([frames[int((frames.frame_index == 0).nonzero()[0][0])]])
    sample = batch.pop(SAMPLE)
    batch.pop(VISIT)
    space = teacher.space
    noise = Draws(seed=0).noise(sample, torch.arange(NOISES)[None], (space.chunk_size, space.max_action_dim))
    paths = {
        title: trajectory(policy.field(policy.encode(dict(batch))), noise, steps, EULER, time_dims=2).states[
            :, 0
        ]
        for title, policy, steps in (
            ("teacher, 10 steps", teacher, 10),
            ("teacher, 1 step", teacher, 1),
            ("student, 1 step", student, 1),
        )
    }
    ends = space.real(paths["teacher, 10 steps"][-1])
    step, joint = divmod(int(ends.std(dim=0).argmax()), space.action_dim)
    picked = {title: path[..., step, joint].T.numpy() for title, path in paths.items()}
    ends = picked["teacher, 10 steps"][:, -1]
    return picked, ends > (ends.min() + ends.max()) / 2, data.meta.features["action"]["names"][joint]


def draw(picked, ways, joint):
    """Three fans and a bar chart."""
    figure = Figure(figsize=(9.6, 3.0))
    axes = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.05))
    colors = [color("oneway" if way else "otherway") for way in ways]
    for number, (ax, (title, path)) in enumerate(zip(axes, picked.items(), strict=False)):
        times = np.linspace(1, 0, path.shape[1])
        ax.add_collection(
            LineCollection(
                [np.column_stack([times, way]) for way in path], colors=colors, linewidths=0.9, alpha=0.6
            )
        )
        ax.scatter(np.zeros(len(path)), path[:, -1], s=12, c=colors, linewidths=0, zorder=3, clip_on=False)
        ax.set_xlim(1, 0)
        ax.set_ylim(min(map(np.min, picked.values())) - 0.1, max(map(np.max, picked.values())) + 0.1)
        ax.set_xticks([1, 0], ["noise", "action"])
        ax.set_title(title, color=color(title.split(",")[0]))
        ax.grid(axis="y")
        ax.tick_params(labelleft=number == 0)
    axes[0].set_ylabel(f"{joint.replace('_', ' ')}, normalised")
    bars = axes[3]
    for row, (title, rate, low, high) in enumerate(SUCCESS):
        bars.barh(row, rate, height=0.5, color=color(title.split(",")[0]))
        bars.plot([low, high], [row, row], color=color("ink"), linewidth=1.2)
        bars.text(max(high, rate) + 2, row, f"{rate} %", va="center", color=color("ink"))
        bars.text(0, row - 0.36, title, va="bottom", color=color("muted"), fontsize=8.5)
    bars.set(ylim=(2.5, -0.75), xlim=(0, 125), yticks=[], title="success")
    bars.set_xticks([0, 50, 100], ["0", "50", "100 %"])
    return figure


if __name__ == "__main__":
    with drawing():
        figure = draw(*fans())
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=150)
    image = Image.open(stream).convert("RGB").quantize(96)  # a quarter of the size, nothing to be seen of it
    image.save(Path(__file__).with_name("one_step.png"), optimize=True)
