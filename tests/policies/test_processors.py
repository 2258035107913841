"""The policy's own processors: loaded as saved, or refused where LeRobot would go on in silence."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.configs import NormalizationMode
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from reflow.errors import UserError
from reflow.policies import FlowPolicy, load_policy, load_processors, saved_rename
from reflow.policies.files import POSTPROCESSOR, PREPROCESSOR, VLM
from reflow.policies.processors import save_new_processors
from tests.builders import HEIGHT, TASKS, TOP, WIDTH, make_policy, make_statistics
from tests.policies.editing import change, step


@pytest.fixture(scope="module")
def flow(teacher_folder: Path) -> FlowPolicy:
    return load_policy(teacher_folder)


def raw_batch(camera: str = TOP) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    return {
        camera: torch.rand(2, 3, HEIGHT, WIDTH, generator=generator),
        "observation.state": torch.randn(2, 14, generator=generator),
        "action": torch.randn(2, 8, 14, generator=generator),
        "task": list(TASKS),
    }


def test_the_preprocessor_is_the_saved_one(teacher_folder, flow):
    preprocess, _ = load_processors(teacher_folder, flow)
    batch = raw_batch()
    got = preprocess(dict(batch))
    statistics = make_statistics(14, 14)
    for key in ("observation.state", "action"):
        expected = (batch[key] - statistics[key]["mean"]) / statistics[key]["std"]
        torch.testing.assert_close(got[key], expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(got[TOP], batch[TOP])
    tokenizer = AutoTokenizer.from_pretrained(teacher_folder / VLM)
    words = tokenizer([f"{task}\n" for task in TASKS], padding=True, return_tensors="pt")
    assert torch.equal(got["observation.language.tokens"], words["input_ids"])
    assert torch.equal(got["observation.language.attention_mask"], words["attention_mask"].bool())
    assert not got[
        "observation.language.attention_mask"
    ].all()  # the second task is shorter: padding is tested


def test_the_postprocessor_undoes_what_the_preprocessor_did(teacher_folder, flow):
    preprocess, postprocess = load_processors(teacher_folder, flow)
    batch = raw_batch()
    action = preprocess(dict(batch))["action"]
    torch.testing.assert_close(postprocess(action), batch["action"], rtol=1e-5, atol=1e-5)


def test_a_camera_of_another_name_is_renamed(teacher_folder, flow):
    rename = {"observation.images.front": TOP}
    preprocess, _ = load_processors(teacher_folder, flow, rename=rename)
    batch = raw_batch("observation.images.front")
    got = preprocess(dict(batch))
    assert torch.equal(got[TOP], batch["observation.images.front"])
    assert "observation.images.front" not in got


def save_rename(folder: Path, **renames: str) -> None:
    how = {f"observation.images.{key}": value for key, value in renames.items()}
    change(
        folder / PREPROCESSOR,
        lambda content: step(content, "rename_observations_processor")["config"].update(rename_map=how),
    )


def test_the_saved_rename_map_is_kept_unless_another_takes_its_place(copy, flow):
    save_rename(copy, front=TOP)
    front = raw_batch("observation.images.front")
    assert saved_rename(copy) == {"observation.images.front": TOP}
    assert TOP in load_processors(copy, flow)[0](dict(front))
    other, _ = load_processors(copy, flow, rename={"observation.images.wrist": TOP})
    assert "observation.images.front" in other(dict(front))
    assert TOP in other(raw_batch("observation.images.wrist"))


def test_an_empty_rename_map_says_that_nothing_is_renamed(copy, flow):
    save_rename(copy, top="observation.images.other")
    preprocess, _ = load_processors(copy, flow, rename={})
    assert TOP in preprocess(raw_batch())
    assert TOP not in load_processors(copy, flow)[0](raw_batch())


def test_a_tokenizer_that_is_not_to_be_had_is_a_matter_for_the_user(copy, flow):
    shutil.rmtree(copy / VLM)
    change(
        copy / PREPROCESSOR,
        lambda content: step(content, "tokenizer_processor")["config"].update(tokenizer_name="/gone/smolvlm"),
    )
    with pytest.raises(
        UserError, match=r"LeRobot cannot make the processors .*tokenizer_processor.*/gone/smolvlm"
    ):
        load_processors(copy, flow)


def test_the_batch_is_left_on_the_device_asked_for(teacher_folder, flow):
    preprocess, _ = load_processors(teacher_folder, flow, device="meta")
    assert preprocess(raw_batch())["observation.language.tokens"].device.type == "meta"


@pytest.mark.parametrize("name", [PREPROCESSOR, POSTPROCESSOR])
def test_a_class_path_is_not_imported(copy, flow, name, tmp_path, monkeypatch):
    """LeRobot itself would import it, and that runs whatever the module says."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Step: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    processor = json.loads((copy / name).read_text())
    processor["steps"].insert(1, {"class": "evil.Step", "config": {}})
    (copy / name).write_text(json.dumps(processor))
    with pytest.raises(
        ValueError, match=rf"{name}: step 1 names the class 'evil.Step'; only steps of LeRobot's"
    ):
        load_processors(copy, flow)
    assert not (tmp_path / "ran").exists()


def drop(folder: Path, name: str, *keys: str) -> None:
    """Take statistics out of the file that a processor's normalisation step reads."""
    steps = json.loads((folder / name).read_text())["steps"]
    (state,) = (folder / step["state_file"] for step in steps if step.get("state_file"))
    statistics = load_file(state)
    save_file({key: value for key, value in statistics.items() if key not in keys}, state)


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        (
            PREPROCESSOR,
            ("observation.state.mean",),
            r"statistics observation.state.mean are missing \(MEAN_STD\)",
        ),
        (PREPROCESSOR, ("action.mean", "action.std"), "statistics action.mean, action.std are missing"),
        (POSTPROCESSOR, ("action.std",), "statistics action.std are missing"),
    ],
)
def test_missing_statistics_are_refused(copy, flow, name, keys, message):
    drop(copy, name, *keys)
    with pytest.raises(ValueError, match=f"{message}.*would skip the normalisation of .* in silence"):
        load_processors(copy, flow)


def test_statistics_under_a_prefix_do_not_count(flow, copy):
    """As in lerobot/smolvla_base."""
    statistics = {f"so100.buffer_{key}": value for key, value in make_statistics(14, 14).items()}
    save_new_processors(flow, statistics, copy)
    with pytest.raises(
        ValueError, match=r"state.mean, observation.state.std are missing.*Present: .*so100.*prefix"
    ):
        load_processors(copy, flow)


@pytest.mark.parametrize(
    ("mode", "missing"),
    [
        (NormalizationMode.MIN_MAX, "observation.state.min, observation.state.max"),
        (NormalizationMode.QUANTILES, "observation.state.q01, observation.state.q99"),
        (NormalizationMode.QUANTILE10, "observation.state.q10, observation.state.q90"),
    ],
)
def test_every_mode_of_normalisation_has_its_statistics(vlm_folder, tmp_path, mode, missing):
    modes = {"VISUAL": NormalizationMode.IDENTITY, "STATE": mode, "ACTION": mode}
    flow = make_policy(vlm_folder, normalization_mapping=modes)
    save_new_processors(flow, make_statistics(14, 14), tmp_path)
    with pytest.raises(ValueError, match=f"statistics {missing} are missing"):
        load_processors(tmp_path, flow)


def test_no_normalisation_needs_no_statistics(vlm_folder, tmp_path):
    modes = dict.fromkeys(("VISUAL", "STATE", "ACTION"), NormalizationMode.IDENTITY)
    flow = make_policy(vlm_folder, normalization_mapping=modes)
    save_new_processors(flow, {}, tmp_path)
    preprocess, _ = load_processors(tmp_path, flow)
    batch = raw_batch()
    assert torch.equal(preprocess(dict(batch))["observation.state"], batch["observation.state"])


@pytest.mark.parametrize(
    ("name", "kind"),
    [(PREPROCESSOR, "NormalizerProcessorStep"), (POSTPROCESSOR, "UnnormalizerProcessorStep")],
)
def test_processors_that_never_normalise_are_refused(copy, flow, name, kind):
    processor = json.loads((copy / name).read_text())
    processor["steps"] = [step for step in processor["steps"] if not step.get("state_file")]
    (copy / name).write_text(json.dumps(processor))
    with pytest.raises(ValueError, match=f"the processors have no {kind}; save the teacher again"):
        load_processors(copy, flow)
