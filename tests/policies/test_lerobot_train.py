"""What lerobot's own ``lerobot-train`` leaves goes straight in: a plain run, an adapter, a base of another robot."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

from reflow.policies import find_folder, load_policy, load_processors, saved_rename, saved_statistics
from reflow.policies.files import CONFIG
from tests.builders import make_dataset, make_teacher_folder, quiet, repo_id

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
CAMERAS = tuple(f"observation.images.camera{i}" for i in (1, 2, 3))
RENAME = {FRONT: CAMERAS[0], WRIST: CAMERAS[1]}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "made", cameras=(FRONT, WRIST), frames=20)


def train(base: Path, dataset: Path, run: Path, *options: str) -> Path:
    """Five steps."""
    fixed = ("--policy.push_to_hub=false", "--policy.device=cpu", "--wandb.enable=false", "--num_workers=0")
    subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "lerobot.scripts.lerobot_train",
                f"--policy.path={base}",
                f"--output_dir={run}",
            ),
            *(
                f"--dataset.repo_id={repo_id(dataset)}",
                f"--dataset.root={dataset}",
                "--steps=5",
                "--save_freq=5",
            ),
            *("--batch_size=2", *fixed, *options),
        ],
        check=True,
        timeout=300,
        capture_output=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    return run


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--peft.method_type=LORA", "--peft.r=4")], ids=["plain", "peft"])
def test_a_run_goes_straight_in(tmp_path, dataset, options):
    base = make_teacher_folder(tmp_path / "base", cameras=(FRONT, WRIST))
    folder = find_folder(train(base, dataset, tmp_path / "run", *options))
    flow = load_policy(folder)
    load_processors(folder, flow)
    with quiet():
        SmolVLAPolicy.from_pretrained(folder, strict=True)
    assert json.loads((folder / CONFIG).read_text())["use_peft"] is False
    before = load_policy(base).policy.state_dict()
    moved = [key for key, value in flow.policy.state_dict().items() if not torch.equal(value, before[key])]
    assert any("lm_expert" in key for key in moved)


@pytest.mark.slow
def test_a_policy_from_another_robot_s_base_is_what_it_was_trained_on(tmp_path, dataset, capsys):
    """The base's ``input_features`` stay in the configuration; the statistics and the rename map are the data's."""
    base = make_teacher_folder(tmp_path / "base", cameras=CAMERAS, state_dim=6)
    run = train(base, dataset, tmp_path / "run", f"--rename_map={json.dumps(RENAME)}")
    written = json.loads((run / "checkpoints" / "last" / "pretrained_model" / CONFIG).read_text())[
        "input_features"
    ]
    assert written["observation.state"]["shape"] == [6]
    assert set(CAMERAS) <= written.keys()
    folder = find_folder(run)
    said = capsys.readouterr().err
    assert "says 6 values of observation.state, its statistics are of 14" in said
    assert f"{CAMERAS[2]} is left over from its base" in said
    flow = load_policy(folder)
    assert flow.config.robot_state_feature.shape == (14,)
    assert list(flow.config.image_features) == list(CAMERAS[:2])
    assert saved_rename(folder) == RENAME
    assert saved_statistics(folder).tensors["observation.state.mean"].shape == (14,)
    load_processors(folder, flow)
