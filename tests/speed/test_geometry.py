"""What is timed: sizes as they should be, data that are really read, refusals before anything is built."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from reflow.demo import embedded
from reflow.memory import available_memory
from reflow.policies import load_policy
from reflow.policies.smolvla.sizes import SMOLVLM_500M
from reflow.policies.smolvla.vlm import VLMSize, build_vlm_folder
from reflow.speed.geometry import (
    GEOMETRIES,
    Place,
    check_memory,
    get_geometry,
    lay_out,
)


def test_the_tiny_one_is_a_policy_with_its_own_data(place):
    flow = load_policy(Path(place.teacher))
    data = place.open(flow, "cpu", batch_size=3)
    batch = next(iter(data.train_dataloader()))
    image = batch["observation.images.camera_0"]
    assert image.shape == (3, 3, 32, 32)
    assert image.std() > 0.05
    assert len(data.train_frames) == 4
    assert len(data.held_out) == 2
    assert flow.space.action_dim == 14
    assert len({tuple(row.tolist()) for row in batch["observation.state"]}) == 3


def test_a_place_survives_json(place):
    assert Place(**json.loads(json.dumps(asdict(place)))) == place


def test_the_demo_is_the_embedded_policy_and_its_demonstrations(tmp_path):
    place = lay_out(GEOMETRIES["demo"], tmp_path)
    assert Path(place.teacher) == embedded.TEACHER.resolve()
    assert Path(place.root) == embedded.DATA
    assert not list(tmp_path.iterdir())


def test_the_real_size_is_that_of_smolvlm2_500m(tmp_path):
    size = SMOLVLM_500M
    config = AutoConfig.from_pretrained(build_vlm_folder(tmp_path, size, ["cube"]))
    text, vision = config.text_config, config.vision_config
    found = (text.hidden_size, text.num_attention_heads, text.num_key_value_heads, text.head_dim)
    assert found == (960, 15, 5, 64)
    assert (text.intermediate_size, text.vocab_size) == (2560, 49280)
    assert (vision.hidden_size, vision.num_hidden_layers, vision.num_attention_heads) == (768, 12, 12)
    assert (vision.image_size, vision.patch_size, config.scale_factor) == (512, 16, 4)


def test_three_cameras_differ_from_one_in_nothing_else():
    one, three = GEOMETRIES["smolvla-1"], GEOMETRIES["smolvla-3"]
    assert (one.cameras, three.cameras) == (1, 3)
    assert (one.policy, one.image, one.chunk_size) == (three.policy, three.image, three.chunk_size)


def test_sizes_left_open_follow_the_heads_and_the_width(tmp_path):
    size = VLMSize(image=32, patch=8, scale=2, vision_width=32, text_width=32, heads=2)
    config = AutoConfig.from_pretrained(build_vlm_folder(tmp_path, size, ["cube"]))
    assert config.text_config.num_key_value_heads == config.vision_config.num_attention_heads == 2
    assert config.text_config.intermediate_size == 96


def test_laying_out_leaves_the_global_generator_alone(tmp_path):
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    lay_out(GEOMETRIES["tiny"], tmp_path, frames=2)
    assert torch.equal(torch.rand(1), wanted)


def test_an_unknown_size_is_refused():
    with pytest.raises(ValueError, match="size=huge; allowed: demo, smolvla-1, smolvla-3, tiny"):
        get_geometry("huge")


def test_too_little_memory_is_told_before_anything_is_built():
    with pytest.raises(
        ValueError, match=r"size=smolvla-1 needs about 9\.\d GB .* 4\.0 GB are free; take a smaller"
    ):
        check_memory("smolvla-1", 4_000_000_000)
    check_memory("tiny", available_memory())
