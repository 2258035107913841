"""Small teachers to train: an untrained policy folder of any kind in the suite, for a data set.

    python -m tests.contract.teachers evo1 outputs/small/evo1 outputs/pick_demos
    python -m reflow.demo.train_teacher start=outputs/small/evo1 run_dir=outputs/small/evo1_trained

The builders are those of the suite, wider. Figures of teachers that were trained so are in docs/policies.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature

from reflow.data import load_metadata
from reflow.policies import save_policy
from reflow.policies.processors import save_new_processors
from tests.builders import quiet
from tests.contract.cases import case_of

WIDER: dict[str, dict[str, Any]] = {
    "smolvla": {"chunk_size": 32, "n_action_steps": 32, "num_steps": 10},
    "evo1": {  # all that it says of a chunk goes through one vector, which has to be wider than the chunk
        "chunk_size": 8,
        "n_action_steps": 8,
        "embed_dim": 160,
        "num_layers": 3,
        "image_resolution": (64, 64),
        "max_views": 1,
        "num_inference_timesteps": 32,
    },
    "multi_task_dit": {
        "horizon": 32,
        "n_action_steps": 31,
        "hidden_dim": 96,
        "num_layers": 3,
        "timestep_embed_dim": 64,
        "num_integration_steps": 100,
        "image_crop_shape": None,
        "image_resize_shape": (64, 64),
    },
    "vla_jepa": {
        "chunk_size": 32,
        "n_action_steps": 32,
        "action_num_heads": 4,
        "action_attention_head_dim": 24,
        "action_hidden_size": 96,
        "action_num_layers": 3,
        "num_embodied_action_tokens_per_instruction": 8,
        "enable_world_model": False,
        "binarize_gripper_action": False,
        "pre_snap_gripper_action": False,
    },
    "pi05": {
        "chunk_size": 32,
        "n_action_steps": 32,
        "image_resolution": (56, 56),
        "num_inference_steps": 10,
    },
}
"""Fields of LeRobot's configurations that differ from the suite's."""


def build_teacher(policy_type: str, folder: Path, data: Path) -> Path:
    """Writes an untrained policy for a data set, with LeRobot's own processors and the data set's statistics.

    Args:
        policy_type: one of :data:`WIDER`.
        folder: where to.
        data: a local LeRobotDataset.
    """
    meta = load_metadata(f"local/{data.name}", data)
    cameras = {
        key: PolicyFeature(FeatureType.VISUAL, (3, *meta.features[key]["shape"][:2]))
        for key in meta.camera_keys
    }
    state = PolicyFeature(FeatureType.STATE, tuple(meta.features["observation.state"]["shape"]))
    features = {
        "input_features": {"observation.state": state, **cameras},
        "output_features": {
            "action": PolicyFeature(FeatureType.ACTION, tuple(meta.features["action"]["shape"]))
        },
    }
    with tempfile.TemporaryDirectory() as scratch, quiet():
        torch.manual_seed(0)
        flow = case_of(policy_type).make(Path(scratch), **features, **WIDER[policy_type])
        save_new_processors(flow, meta.stats, Path(scratch, "processors"))
        return save_policy(flow, Path(scratch, "processors"), folder)


if __name__ == "__main__":
    build_teacher(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
