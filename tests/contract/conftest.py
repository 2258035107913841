"""Each policy once per session: its folder, as a teacher's, and batches of real data through its processors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reflow.data import LeRobotDataModule, load_metadata
from reflow.flow import Draws
from reflow.policies import Batch, FlowPolicy, load_policy, load_processors, save_policy
from reflow.policies.processors import save_new_processors
from tests.builders import make_dataset, quiet, repo_id
from tests.contract.cases import POLICIES, Case, case_of

SIZE = 3


@dataclass(frozen=True)
class Subject:
    """A policy under test.

    Attributes:
        case: what its builder says.
        folder: of the policy; only read.
        observed: a batch of ``SIZE`` observations, as the preprocessor leaves it.
        training: the same with actions.
    """

    case: Case
    folder: Path
    observed: Batch
    training: Batch

    def load(self) -> FlowPolicy:
        """The policy, anew."""
        return load_policy(self.folder)

    def noise(self, flow: FlowPolicy, draws: int = 1, seed: int = 0) -> Tensor:
        """Its base noise, ``[b, k, h, d]``."""
        return flow.noise(Draws(seed), torch.arange(SIZE), torch.arange(draws).expand(SIZE, -1))


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "set", frames=14)


def batch_of(flow: FlowPolicy, folder: Path, dataset: Path, **how: Any) -> Batch:
    preprocess, _ = load_processors(folder, flow)
    data = LeRobotDataModule(
        flow.config, preprocess, repo_id=repo_id(dataset), root=dataset, num_workers=0, batch_size=SIZE, **how
    )
    # Far enough from either end of an episode that no step of a chunk is padded.
    batch = data._collate([data.held_out[row] for row in range(SIZE, 2 * SIZE)])
    return {key: value for key, value in batch.items() if key not in ("sample", "visit")}


@pytest.fixture(scope="session", params=POLICIES)
def subject(
    request: pytest.FixtureRequest, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Subject:
    return subject_of(request.param, dataset, tmp_path_factory.mktemp(request.param))


def subject_of(policy_type: str, dataset: Path, scratch: Path) -> Subject:
    """Builds a policy's folder and its batches."""
    case = case_of(policy_type)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        flow = case.make(scratch)
    statistics = load_metadata(repo_id(dataset), dataset).stats
    save_new_processors(flow, statistics, scratch / "processors")
    folder = save_policy(flow, scratch / "processors", scratch / "teacher" / "pretrained_model")
    observed = batch_of(flow, folder, dataset)
    training = batch_of(flow, folder, dataset, with_actions=True)
    return Subject(case, folder, observed, training)


@pytest.fixture
def flow(subject: Subject) -> FlowPolicy:
    return subject.load()
