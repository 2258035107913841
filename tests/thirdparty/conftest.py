"""A tiny EVO-1 with its data, and its adapter installed as a distribution of its own."""

from pathlib import Path

import pytest
import torch

from reflow.data import load_metadata
from reflow.policies import save_policy
from reflow.policies.processors import save_new_processors
from tests.builders import make_dataset, quiet, repo_id
from tests.contract.builders.evo1 import make


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="session")
def teacher_folder(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete ``pretrained_model`` folder: 14 real dimensions of 24, 8 steps."""
    scratch = tmp_path_factory.mktemp("evo1")
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        flow = make(scratch)
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
    (about / "entry_points.txt").write_text("[reflow.policies]\nevo1 = evo1_flow:MyEvo1Flow\n")
    return site
