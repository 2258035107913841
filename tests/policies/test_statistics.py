"""What is read from a folder's files is what LeRobot's own normaliser does; what cannot be true is refused."""

import shutil
from pathlib import Path

import pytest
import torch
from lerobot.configs import FeatureType, NormalizationMode
from lerobot.processor import NormalizerProcessorStep

from reflow.errors import UserError
from reflow.policies import (
    SavedStatistics,
    check_statistics,
    find_folder,
    load_policy,
    load_processors,
    saved_statistics,
)
from reflow.policies.files import CONFIG, NORMALIZERS, POSTPROCESSOR, PREPROCESSOR
from tests.builders import TOP, make_statistics, make_teacher_folder
from tests.policies.editing import STATES, change, change_statistics, step


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    statistics = make_statistics(14, 14)
    for feature in statistics.values():
        feature |= {"min": feature["mean"] - 2, "max": feature["mean"] + 3}
        feature |= {"q01": feature["mean"] - 1, "q99": feature["mean"] + 1.5}
        feature |= {"q10": feature["mean"] - 0.5, "q90": feature["mean"] + 0.7}
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model", statistics=statistics)


def test_both_processors_carry_the_same(folder: Path) -> None:
    pre, post = saved_statistics(folder), saved_statistics(folder, POSTPROCESSOR)
    assert pre.modes["ACTION"] == "MEAN_STD"
    assert torch.equal(pre.tensors["action.mean"], post.tensors["action.mean"])


@pytest.mark.parametrize("mode", ["MEAN_STD", "MIN_MAX", "QUANTILES", "QUANTILE10"])
def test_the_line_is_lerobot_s_normalisation(folder: Path, mode: str) -> None:
    pre, _ = load_processors(folder, load_policy(folder))
    step = next(step for step in pre.steps if isinstance(step, NormalizerProcessorStep))
    step.norm_map = {**step.norm_map, FeatureType.ACTION: NormalizationMode(mode)}
    x = torch.randn(5, 14, generator=torch.Generator().manual_seed(0))
    line = SavedStatistics(saved_statistics(folder).tensors, {"ACTION": mode}).line("action", "ACTION")
    assert line is not None
    centre, scale = line
    torch.testing.assert_close(
        ((x.double() - centre) / scale).float(),
        step._apply_transform(x, "action", FeatureType.ACTION),
        rtol=1e-4,
        atol=1e-5,
    )


def test_what_is_not_normalised_has_no_line(folder: Path) -> None:
    tensors = saved_statistics(folder).tensors
    assert SavedStatistics(tensors, {"ACTION": "IDENTITY"}).line("action", "ACTION") is None
    assert SavedStatistics({}, {"ACTION": "MEAN_STD"}).line("action", "ACTION") is None


# -- what is refused


def spoil(folder: Path, key: str, index: int, value: float, *names: str) -> None:
    """Sets one value of these processors' statistics; of both, where none is named."""

    def how(tensors: dict[str, torch.Tensor]) -> None:
        tensors[key].view(-1)[index] = value

    change_statistics(folder, how, *names)


def only(*keys: str, width: int):
    """Statistics cut or stretched to another width."""

    def how(tensors):
        return {key: value[:width] if key in keys else value for key, value in tensors.items()}

    return how


def test_statistics_that_can_be_true_pass(copy):
    check_statistics(copy)
    check_statistics(copy, {"action": ["a"]})


@pytest.mark.parametrize(
    ("value", "said"), [(float("nan"), "nan"), (float("inf"), "inf"), (-float("inf"), "-inf")]
)
@pytest.mark.parametrize(
    "key", ["action.mean", "action.std", "observation.state.mean", "observation.state.std"]
)
def test_a_value_that_is_no_number_is_refused_by_file_key_and_dimension(copy, key, value, said):
    spoil(copy, key, 3, value)
    message = rf"^{copy / STATES[PREPROCESSOR]}: {key} is {said} for dimension 3; normalisation would"
    with pytest.raises(UserError, match=message):
        check_statistics(copy)
    with pytest.raises(UserError, match=message):
        load_processors(copy, load_policy(copy))


def test_the_joint_is_named_where_its_name_is_known(copy):
    spoil(copy, "action.std", 3, float("nan"), POSTPROCESSOR)
    spoil(copy, "action.std", 5, float("nan"), POSTPROCESSOR)
    names = [f"joint_{i}" for i in range(14)]
    with pytest.raises(
        UserError,
        match=rf"{STATES[POSTPROCESSOR]}: action.std is nan for dimension 3 \(joint_3\) \(and 1 more\)",
    ):
        check_statistics(copy, {"action": names})
    with pytest.raises(UserError, match=r"dimension 3 \(and 1 more\)"):
        check_statistics(copy, {"action": names[:2], "observation.state": names})


def test_a_value_that_no_mode_uses_is_no_matter(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    spoil(copy, "action.min", 3, float("nan"))
    spoil(copy, "observation.state.q99", 3, float("inf"), PREPROCESSOR)
    change_statistics(copy, lambda tensors: tensors | {"timestamp.mean": torch.tensor([torch.nan])})
    check_statistics(copy)


def normalise_images(folder: Path, mode: str) -> None:
    change(
        folder / PREPROCESSOR,
        lambda content: step(content, "normalizer_processor")["config"]["norm_map"].update(VISUAL=mode),
    )


def test_images_count_where_they_are_normalised(copy):
    image = {
        f"{TOP}.{name}": torch.full((3, 1, 1), value) for name, value in (("mean", 0.5), ("std", torch.nan))
    }
    change_statistics(copy, lambda tensors: tensors | image)
    check_statistics(copy)
    normalise_images(copy, "MEAN_STD")
    with pytest.raises(UserError, match=rf"{TOP}.std is nan for dimension 0 \(and 2 more\)"):
        check_statistics(copy)


@pytest.mark.parametrize("width", [1, 7])
@pytest.mark.parametrize("feature", ["action", "observation.state"])
def test_another_width_is_refused_and_both_are_named(copy, feature, width):
    keys = (f"{feature}.mean", f"{feature}.std")
    change_statistics(copy, only(*keys, width=width))
    with pytest.raises(
        UserError,
        match=rf"{STATES[PREPROCESSOR]}: {feature}.mean has {width} values?, but .*{CONFIG} says 14 for {feature};",
    ):
        check_statistics(copy)


def test_one_statistic_of_another_width_is_refused_too(copy):
    change_statistics(copy, only("action.std", width=1), POSTPROCESSOR)
    with pytest.raises(UserError, match=rf"{STATES[POSTPROCESSOR]}: action.std has 1 value, but"):
        check_statistics(copy)


@pytest.mark.parametrize("key", ["action.mean", "observation.state.std"])
def test_processors_of_different_statistics_are_refused(copy, key):
    spoil(copy, key, 2, 5.0, POSTPROCESSOR)
    feature = key.rpartition(".")[0]
    with pytest.raises(
        UserError,
        match=rf"^{key} for dimension 2 \(elbow\) is .* in {copy / STATES[PREPROCESSOR]} and 5 in "
        rf"{copy / STATES[POSTPROCESSOR]}; the policy would act in another scale",
    ):
        check_statistics(copy, {feature: ["waist", "shoulder", "elbow"]})


def test_what_differs_but_is_not_used_is_no_matter(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    spoil(copy, "action.q99", 2, 5.0, POSTPROCESSOR)
    change_statistics(
        copy,
        lambda tensors: {k: v for k, v in tensors.items() if not k.startswith("observation")},
        POSTPROCESSOR,
    )
    check_statistics(copy)


@pytest.mark.parametrize("kind", ["ACTION", "STATE"])
def test_processors_of_different_modes_are_refused(copy, kind):
    change(
        copy / POSTPROCESSOR,
        lambda content: step(content, "unnormalizer_processor")["config"]["norm_map"].update(
            {kind: "MIN_MAX"}
        ),
    )
    with pytest.raises(
        UserError,
        match=rf"{PREPROCESSOR} normalises {kind} by MEAN_STD, {copy / POSTPROCESSOR} by MIN_MAX; the policy",
    ):
        check_statistics(copy)


def padded(folder: Path, width: int = 32) -> None:
    """Makes processors that normalise state and action after padding, as evo1's do."""

    def wide(tensors):
        return {
            key: torch.nn.functional.pad(value, (0, width - 14), value=1.0) for key, value in tensors.items()
        }

    change_statistics(folder, wide)
    for name, registry_name in NORMALIZERS.items():

        def stretch(content, registry_name=registry_name):
            for key, feature in step(content, registry_name)["config"]["features"].items():
                feature["shape"] = [width] if key != TOP else feature["shape"]

        change(folder / name, stretch)


def test_statistics_of_padded_values_are_no_other_width(copy, capsys):
    padded(copy)
    assert find_folder(copy) == copy
    assert capsys.readouterr().err == ""
    check_statistics(copy)


def test_nor_is_another_width_a_padded_one(copy):
    padded(copy, 20)
    with pytest.raises(UserError, match=r"has 20 values, but .* says 14 for observation.state"):
        check_statistics(copy)
