"""The small VLM folder: made offline, whole enough for stock SmolVLA, with a tokenizer that loses nothing."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoProcessor, AutoTokenizer

from reflow.policies.smolvla.vlm import VLMSize, build_vlm_folder
from tests.builders import TASKS, TINY, make_policy, make_vlm_folder

SPECIAL = ("<pad>", "<image>", "<global-img>", "<fake_token_around_image>", "<end_of_utterance>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_vlm_folder(tmp_path_factory.mktemp("vlm") / "smolvlm")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def test_it_is_made_and_used_without_a_network(tmp_path, monkeypatch):
    def refuse(self: socket.socket, address: Any) -> None:
        pytest.fail(f"asked the network for {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    flow = make_policy(make_vlm_folder(tmp_path / "smolvlm"))
    assert not list(tmp_path.rglob("*.safetensors"))  # its weights are the policy's
    vlm = flow.policy.model.vlm_with_expert.vlm
    text, vision = vlm.config.text_config, vlm.config.vision_config
    assert (text.hidden_size, text.num_hidden_layers, text.num_attention_heads) == (32, 2, 2)
    assert (vision.hidden_size, vision.num_hidden_layers, vision.image_size, vision.patch_size) == (
        32,
        1,
        32,
        8,
    )
    assert vlm.get_input_embeddings().num_embeddings == text.vocab_size


@pytest.mark.parametrize(
    ("size", "tokens"),
    [(TINY, 4), (VLMSize(image=24, patch=4, scale=3, vision_width=32, vision_layers=1), 4)],
)
def test_an_image_becomes_the_tokens_that_the_processor_counts_on(tmp_path, size, tokens):
    folder = build_vlm_folder(tmp_path / "smolvlm", size, TASKS)
    assert AutoProcessor.from_pretrained(folder).image_seq_len == tokens
    flow = make_policy(folder, resize_imgs_with_padding=(size.image, size.image), num_vlm_layers=2)
    image = torch.rand(1, 3, size.image, size.image)
    assert flow.policy.model.vlm_with_expert.embed_image(image).shape == (1, tokens, size.text_width)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=80).filter(lambda text: not any(token in text for token in SPECIAL)))
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_corpus_is_cheaper_than_its_bytes(tokenizer):
    for task in TASKS:
        assert len(tokenizer(task)["input_ids"]) < len(task) / 2
    assert len(tokenizer("zqzqzqzq")["input_ids"]) == 8


def test_special_tokens_are_one_each_and_known_by_name(tokenizer, folder):
    ids = tokenizer.convert_tokens_to_ids(list(SPECIAL))
    assert len(set(ids)) == len(SPECIAL)
    assert tokenizer("".join(SPECIAL))["input_ids"] == ids
    config = AutoConfig.from_pretrained(folder)
    assert config.image_token_id == tokenizer.image_token_id == ids[1]
    assert (tokenizer.global_image_token_id, tokenizer.fake_image_token_id) == (ids[2], ids[3])
    assert config.text_config.pad_token_id == tokenizer.pad_token_id == ids[0]
    assert config.text_config.vocab_size == len(tokenizer)


def test_the_same_call_makes_the_same_folder(folder, tmp_path):
    again = make_vlm_folder(tmp_path / "smolvlm")
    names = sorted(file.name for file in folder.iterdir())
    assert sorted(file.name for file in again.iterdir()) == names
    for name in names:
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name
    assert json.loads((folder / "config.json").read_text())["scale_factor"] == TINY.scale


@pytest.mark.parametrize(
    ("image", "patch", "scale"), [(100, 8, 3), (96, 8, 5), (8, 16, 1), (32, 8, 8)], ids=str
)
def test_refuses_patches_that_do_not_fit(image, patch, scale):
    with pytest.raises(
        ValueError,
        match=rf"image {image}, patch {patch}, scale {scale}: patch must divide image, and scale must divide",
    ):
        VLMSize(image=image, patch=patch, scale=scale)
