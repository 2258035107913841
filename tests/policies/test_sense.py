"""What LeRobot reads and no policy can be made of is refused by its key, before anything is loaded."""

import pytest
import torch

from reflow.errors import UserError
from reflow.policies import find_folder, load_policy, load_processors
from reflow.policies.files import CONFIG, POSTPROCESSOR, PREPROCESSOR
from tests.policies.editing import change, change_statistics, change_weights, edit, step

STATE, TOP = "observation.state", "observation.images.top"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": None}, r"num_steps is None; allowed: 1 or more"),
        ({"num_steps": 0}, r"num_steps is 0; allowed: 1 or more"),
        ({"n_action_steps": 0}, r"n_action_steps is 0; allowed: 1 or more"),
        ({"max_action_dim": None}, r"max_action_dim is None; allowed: 1 or more"),
        ({"max_state_dim": None, "num_steps": 0}, r"num_steps is 0.*; max_state_dim is None"),
        ({"min_period": 0}, r"min_period is 0; allowed: a number above 0"),
        ({"expert_width_multiplier": None}, r"expert_width_multiplier is None; allowed: a number above 0"),
        (
            {"resize_imgs_with_padding": [0, 0]},
            r"resize_imgs_with_padding is \[0, 0\]; allowed: \[width, height\]",
        ),
        ({"input_features": None}, r"input_features has no observation\.state.*input_features has no camera"),
        ({"output_features": {}}, r"output_features has no action"),
        ({"device": "nonsense"}, r"device is 'nonsense'; allowed: null, or a device"),
        ({"device": 5}, r"device is 5; allowed: null"),
        ({"n_action_steps": 100}, r"LeRobot \S+ refuses it \(ValueError: .*100"),
    ],
)
def test_a_configuration_of_no_policy(copy, changes, message):
    edit(copy / CONFIG, **changes)
    with pytest.raises(UserError, match=message) as caught:
        find_folder(copy)
    assert str(copy / CONFIG) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", ["14", [], [1, 14], [0], None])
def test_a_shape_that_is_none(copy, shape):
    change(copy / CONFIG, lambda config: config["input_features"][STATE].update(shape=shape))
    with pytest.raises(
        UserError, match=r"shape of observation\.state in input_features|LeRobot \S+ refuses it"
    ):
        find_folder(copy)


def test_numbers_in_quotes_are_numbers_as_lerobot_reads_them(copy):
    edit(copy / CONFIG, num_steps="10", chunk_size="8")
    assert load_policy(find_folder(copy)).num_steps == 10


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rename_observations_processor", {"rename_map": ["a"]}, r"rename_map=\['a'\]; allowed: an object"),
        ("rename_observations_processor", {"rename_map": {TOP: 5}}, r"rename_map=.*5.*; allowed: an object"),
        (
            "tokenizer_processor",
            {"tokenizer_name": None},
            r"tokenizer_name=None; allowed: the name of a folder",
        ),
        ("device_processor", {"float_dtype": "bfloat16"}, r"float_dtype='bfloat16', but LeRobot computes"),
    ],
)
def test_settings_of_a_step_that_would_fail_at_the_first_observation(copy, name, settings, message):
    change(copy / PREPROCESSOR, lambda content: step(content, name)["config"].update(settings))
    with pytest.raises(UserError, match=message):
        find_folder(copy)


@pytest.mark.parametrize("state", ["/etc/passwd", "../x.safetensors", 5])
def test_a_step_keeps_its_state_beside_it(copy, state):
    change(
        copy / PREPROCESSOR, lambda content: step(content, "normalizer_processor").update(state_file=state)
    )
    with pytest.raises(UserError, match=r"state_file=.*; allowed: the name of a file beside it"):
        find_folder(copy)


def test_a_state_that_is_no_safetensors(copy):
    change(
        copy / PREPROCESSOR, lambda content: step(content, "normalizer_processor").update(state_file=CONFIG)
    )
    with pytest.raises(UserError, match=r"config\.json is no whole safetensors file"):
        find_folder(copy)


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        (
            PREPROCESSOR,
            lambda content: content["steps"].remove(step(content, "tokenizer_processor")),
            r"no step tokenizer_processor",
        ),
        (
            PREPROCESSOR,
            lambda content: content["steps"].append(step(content, "normalizer_processor")),
            r"2 steps NormalizerProcessorStep, so values would be normalised more than once",
        ),
        (
            POSTPROCESSOR,
            lambda content: step(content, "unnormalizer_processor")["config"].update(features={}),
            r"normalises ACTION \(MEAN_STD\), but action is not among its features \(none\)",
        ),
    ],
)
def test_processors_that_leave_something_out_in_silence(copy, name, how, message):
    change(copy / name, how)
    folder = find_folder(copy)
    with pytest.raises(UserError, match=message):
        load_processors(folder, load_policy(folder))


def test_weights_with_a_nan(copy):
    change_weights(
        copy, lambda tensors: tensors["model.action_out_proj.weight"].__setitem__((0, 0), torch.nan)
    )
    with pytest.raises(
        UserError, match=r"model\.action_out_proj\.weight holds 1 value that is NaN or infinite"
    ):
        load_policy(find_folder(copy))


def test_a_spread_below_zero(copy):
    change_statistics(copy, lambda tensors: tensors["action.std"].__setitem__(3, -0.5))
    folder = find_folder(copy)
    with pytest.raises(UserError, match=r"action\.std -0\.5 for dimension 3 make a spread below zero"):
        load_processors(folder, load_policy(folder))


def test_statistics_in_two_dimensions(copy):
    change_statistics(copy, lambda tensors: tensors | {"action.std": tensors["action.std"][None]})
    folder = find_folder(copy)
    with pytest.raises(UserError, match=r"action\.std is of shape \[1, 14\]; allowed: one value for each"):
        load_processors(folder, load_policy(folder))


@pytest.mark.parametrize("content", ["{}", '{"model_type": "llama"}'])
def test_another_vlm(copy, content):
    (copy / "vlm/config.json").write_text(content)
    with pytest.raises(UserError, match=r"LeRobot \S+ makes no policy of it .*its backbone in .*vlm"):
        load_policy(find_folder(copy))
