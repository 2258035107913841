"""openpi's names of pi's weights become LeRobot's, and what LeRobot would run as random weights is refused."""

import shutil
from pathlib import Path

import pytest
import torch

from reflow.errors import MissingFileError, UserError
from reflow.policies import find_folder, load_policy, stock
from reflow.policies.files import WEIGHTS
from tests.builders import make_batch, quiet
from tests.contract.builders.pi import make_folder, noise, stock_weights
from tests.policies.editing import change_weights
from tests.rounding import apart, of_policy

PARTS = "model.paligemma_with_expert.paligemma."
HEAD = f"{PARTS}lm_head.weight"
WORDS = f"{PARTS}model.language_model.embed_tokens.weight"


@pytest.fixture(scope="module", params=["pi0", "pi05"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def as_openpi(policy_type: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names as openpi has them; the time under the other policy's name, and of pi0 what pi05 does not have."""
    old, new = ("action_time_mlp", "time_mlp") if policy_type == "pi0" else ("time_mlp", "action_time_mlp")
    named = {name.removeprefix("model."): tensor for name, tensor in weights.items() if name != WORDS}
    named = {
        f"{new}{name.removeprefix(old)}" if name.startswith(old) else name: tensor
        for name, tensor in named.items()
    }
    if policy_type == "pi05":
        expert = "paligemma_with_expert.gemma_expert.model."
        named |= {"state_proj.weight": torch.ones(3, 3), f"{expert}norm.weight": torch.ones(3)}
        named |= {f"{expert}layers.1.input_layernorm.weight": torch.ones(3)}
    return named


def test_openpi_s_names_become_what_lerobot_makes_of_them(copy, capsys):
    policy_type = stock.read_config(copy).type
    change_weights(copy, lambda weights: as_openpi(policy_type, weights))
    found = find_folder(copy)
    assert f"{copy / WEIGHTS}: " in (said := capsys.readouterr().err)
    assert "tensors have openpi's names" in said
    ours, theirs = load_policy(found).policy.state_dict(), stock_weights(copy)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(ours[WORDS], ours[HEAD])
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in stock_weights(found).items())


def test_words_that_alone_are_left_out_are_those_of_the_head(copy, capsys):
    change_weights(copy, lambda weights: {name: tensor for name, tensor in weights.items() if name != WORDS})
    found = find_folder(copy)
    assert f"{WORDS} is left out; it was taken from lm_head" in capsys.readouterr().err
    ours, theirs = load_policy(found).policy.state_dict(), stock_weights(copy)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_lerobot_s_own_names_stay(folder, capsys):
    assert find_folder(folder) == folder
    assert capsys.readouterr().err == ""


def test_an_openpi_folder_that_lacks_a_tensor_is_refused_where_lerobot_runs_random_ones(copy):
    policy_type = stock.read_config(copy).type

    def lacking(weights):
        weights = as_openpi(policy_type, weights)
        del weights["action_in_proj.weight"]
        return weights

    change_weights(copy, lacking)
    with pytest.raises(UserError, match=r"1 missing keys \['model.action_in_proj.weight'\]"):
        load_policy(find_folder(copy))


def test_an_adapter_over_a_base_of_openpi_s_names_is_merged(copy, tmp_path, capsys):
    peft = pytest.importorskip("peft")
    policy_type = stock.read_config(copy).type
    change_weights(copy, lambda weights: as_openpi(policy_type, weights))
    with quiet():
        policy = stock.get_policy_class(policy_type).from_pretrained(copy).eval()
    policy.config.pretrained_path = copy
    adapted = policy.wrap_with_peft(peft.LoraConfig(r=2, **policy._get_default_peft_targets()))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:  # a fresh adapter would change nothing
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    adapter = tmp_path / "adapter"
    shutil.copytree(copy, adapter, ignore=shutil.ignore_patterns(WEIGHTS))
    adapted.save_pretrained(adapter)
    policy.config.save_pretrained(adapter)
    flow = load_policy(find_folder(adapter))
    said = capsys.readouterr().err
    assert "tensors have openpi's names" in said
    assert f"is an adapter over {copy}: it was applied and merged" in said
    batch = make_batch(flow)
    with torch.no_grad():
        theirs = adapted.get_base_model().predict_action_chunk(dict(batch), noise=noise(flow))
        ours = flow.stock_chunk(batch, noise(flow))
        without = load_policy(find_folder(copy)).stock_chunk(batch, noise(flow))
    # A merged layer sums once what the unmerged one sums in two: as two ways to compute the same velocity.
    assert apart(ours, theirs) < flow.num_steps * of_policy(flow)
    assert apart(without, theirs) > 1e-2


# -- what LeRobot lets pass


def test_without_weights_lerobot_runs_random_ones_and_we_refuse(copy):
    kept = load_policy(copy).policy.state_dict()
    (copy / WEIGHTS).unlink()
    theirs = stock_weights(copy)
    assert not torch.equal(theirs["model.action_out_proj.weight"], kept["model.action_out_proj.weight"])
    with pytest.raises(MissingFileError, match=rf"{WEIGHTS} missing"):
        find_folder(copy)


def test_a_tensor_of_another_shape_makes_lerobot_s_policy_random_and_is_refused(copy):
    name = "model.action_in_proj.bias"
    change_weights(copy, lambda weights: weights | {name: torch.zeros(3)})
    with pytest.raises(UserError, match=r"does not fit PI0.*size mismatch for model.action_in_proj.bias"):
        load_policy(find_folder(copy))
