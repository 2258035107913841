"""A tiny EVO-1 with its data, and its adapter installed as a distribution of its own."""

from pathlib import Path

import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.evo1.configuration_evo1 import Evo1Config
from lerobot.policies.evo1.modeling_evo1 import Evo1Policy
from transformers import InternVLConfig, InternVLModel, PreTrainedTokenizerFast

from reflow.data import load_metadata
from reflow.policies import save_policy
from reflow.policies.processors import save_new_processors
from reflow.policies.smolvla.vlm import byte_tokenizer
from tests.builders import HEIGHT, TASKS, TOP, WIDTH, make_dataset, quiet, repo_id
from tests.thirdparty.evo1_flow import Evo1Flow

WIDE = 32


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="session")
def teacher_folder(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete ``pretrained_model`` folder: 14 real dimensions of 24, 8 steps."""
    scratch = tmp_path_factory.mktemp("evo1")
    vision = PolicyFeature(FeatureType.VISUAL, (3, HEIGHT, WIDTH))
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        config = Evo1Config(
            input_features={"observation.state": PolicyFeature(FeatureType.STATE, (14,)), TOP: vision},
            output_features={"action": PolicyFeature(FeatureType.ACTION, (14,))},
            vlm_model_name=str(_backbone(scratch / "vlm")),
            vlm_num_layers=2,
            vlm_dtype="float32",
            use_flash_attn=False,
            max_views=2,
            image_resolution=(32, 32),
            chunk_size=8,
            n_action_steps=8,
            max_state_dim=24,
            max_action_dim=24,
            embed_dim=WIDE,
            hidden_dim=32,
            state_hidden_dim=32,
            num_heads=2,
            num_layers=2,
            num_inference_timesteps=8,
            device="cpu",
            push_to_hub=False,
        )
        flow = Evo1Flow(Evo1Policy(config)).eval()
        with torch.no_grad():
            for parameter in flow.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(std=1.5 * parameter[0].numel() ** -0.5)
        save_new_processors(flow, load_metadata(repo_id(dataset), dataset).stats, scratch / "processors")
        return save_policy(flow, scratch / "processors", scratch / "pretrained_model")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for ``sys.path``: the adapter's file, and what a package manager writes beside it."""
    site = tmp_path_factory.mktemp("site")
    (site / "evo1_flow.py").write_text(Path(__file__).with_name("evo1_flow.py").read_text())
    about = site / "evo1_flow-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: evo1-flow\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[reflow.policies]\nevo1 = evo1_flow:Evo1Flow\n")
    return site


def _backbone(folder: Path) -> Path:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(TASKS),
        pad_token="<pad>",
        eos_token="<end_of_utterance>",
        extra_special_tokens={},
        model_max_length=512,
    )
    tokenizer.add_tokens(["<IMG_CONTEXT>", "<img>", "</img>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    config = InternVLConfig(
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": [32, 32],
            "patch_size": [8, 8],
        },
        text_config={
            "model_type": "qwen2",
            "hidden_size": WIDE,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 512,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    InternVLModel(config).save_pretrained(folder)
    return folder
