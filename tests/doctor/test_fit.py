"""Data and policy side by side, fitting or not."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reflow.data import load_metadata
from reflow.doctor import fit_check
from reflow.policies import FlowPolicy, load_policy
from tests.builders import TOP, make_dataset, repo_id


@pytest.fixture(scope="module")
def teacher(teacher_folder: Path) -> FlowPolicy:
    return load_policy(teacher_folder)


def check(teacher: FlowPolicy, root: Path, folder: Path, rename: dict[str, str] | None = None) -> Any:
    meta = load_metadata(repo_id(root), root)
    found = fit_check(meta, teacher.config, teacher.space, rename or {}, folder)
    return found, {finding.name: finding for finding in found.findings}


def test_what_fits(teacher: FlowPolicy, dataset: Path, teacher_folder: Path) -> None:
    found, findings = check(teacher, dataset, teacher_folder)
    assert findings.keys() == {"fit"}
    table = {row[0]: row[1:] for row in found.tables[0].rows}
    assert table[TOP] == ("24x32", "24x32")
    assert table["action"] == ("14", "14 of 32 native")
    assert table["fps"] == ("10", "not stored")
    assert table["chunk"] == ("-", "8 steps, 8 of them played")
    assert found.figures["chunk_seconds"] == pytest.approx(0.8)


def test_cameras_of_another_name(teacher: FlowPolicy, teacher_folder: Path, tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other", cameras=("observation.images.wrist",), episodes=1)
    found, findings = check(teacher, other, teacher_folder)
    assert findings["misfit"].severity == "error"
    assert findings["misfit"].what_to_do == f"'data.rename={{observation.images.wrist:{TOP}}}'"
    table = {row[0]: row[1:] for row in found.tables[0].rows}
    assert table[TOP] == ("missing", "24x32")
    assert table["observation.images.wrist"] == ("24x32", "missing")
    _, findings = check(teacher, other, teacher_folder, {"observation.images.wrist": TOP})
    assert "misfit" not in findings


def test_another_robot(teacher: FlowPolicy, teacher_folder: Path, tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other", action_dim=6, episodes=1)
    found, findings = check(teacher, other, teacher_folder)
    assert findings["misfit"].severity == "error"
    assert {row[0]: row[1] for row in found.tables[0].rows}["action"] == "6"


def test_remarks(teacher: FlowPolicy, teacher_folder: Path, tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other", cameras=(TOP, "observation.images.wrist"), frames=5, episodes=2)
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "train_config.json").write_text(
        json.dumps({"env": {"fps": 50}, "dataset": {"repo_id": "me/pick"}})
    )
    found, findings = check(teacher, other, folder)
    assert findings["unused_cameras"].severity == findings["short_episodes"].severity == "note"
    assert findings["frame_rate"].severity == "warning"
    assert {row[0]: row[2] for row in found.tables[0].rows}["data set"] == "me/pick"


def test_another_aspect_ratio(teacher: FlowPolicy, dataset: Path, teacher_folder: Path) -> None:
    meta = load_metadata(repo_id(dataset), dataset)
    features = {**meta.features, TOP: {**meta.features[TOP], "shape": (24, 24, 3)}}
    seen = SimpleNamespace(
        features=features, camera_keys=[TOP], episodes=meta.episodes, fps=10, repo_id="x", total_episodes=4
    )
    found = fit_check(seen, teacher.config, teacher.space, {}, teacher_folder)
    assert [finding.name for finding in found.findings] == ["camera_shape"]


def test_the_names_of_the_axes_say_which_is_which(
    teacher: FlowPolicy, dataset: Path, teacher_folder: Path
) -> None:
    """Many data sets have their cameras channel-first."""
    meta = load_metadata(repo_id(dataset), dataset)
    first = {**meta.features[TOP], "shape": (3, 24, 32), "names": ["channels", "height", "width"]}
    seen = SimpleNamespace(
        features={**meta.features, TOP: first},
        camera_keys=[TOP],
        episodes=meta.episodes,
        fps=10,
        repo_id="x",
        total_episodes=4,
    )
    found = fit_check(seen, teacher.config, teacher.space, {}, teacher_folder)
    assert [finding.name for finding in found.findings] == ["fit"]
    assert {row[0]: row[1:] for row in found.tables[0].rows}[TOP] == ("24x32", "24x32")


def test_names_saved_with_the_policy_are_taken(
    teacher: FlowPolicy, teacher_folder: Path, tmp_path: Path
) -> None:
    wrist = "observation.images.wrist"
    other = make_dataset(tmp_path / "other", cameras=(wrist,), episodes=1)
    meta = load_metadata(repo_id(other), other)
    saved = {wrist: TOP, "observation.images.gone": "observation.images.else"}
    found = fit_check(meta, teacher.config, teacher.space, {}, teacher_folder, saved)
    assert [finding.name for finding in found.findings] == ["fit"]
    assert {row[0]: row[1:] for row in found.tables[0].rows}[TOP] == ("24x32", "24x32")
