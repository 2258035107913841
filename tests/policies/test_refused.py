"""Every policy that LeRobot knows is either served, or refused by name and with a reason."""

import importlib.util

import lerobot.policies  # noqa: F401  (it registers every policy)
import pytest
from lerobot.configs import PreTrainedConfig

from reflow.errors import NotInstalledError, UserError
from reflow.files import read_json, write_json
from reflow.policies import find_folder, get_adapter, policy_types
from reflow.policies.files import CONFIG
from reflow.policies.refused import REFUSED
from reflow.policies.registry import _OWN


def test_no_policy_of_lerobot_is_forgotten():
    known = set(PreTrainedConfig.get_known_choices())
    assert known == known & {*policy_types(), *REFUSED}
    assert not set(policy_types()) & set(REFUSED)


@pytest.mark.parametrize("policy_type", REFUSED)
def test_the_reason_is_given_where_a_teacher_is_opened(copy, policy_type):
    write_json(copy / CONFIG, read_json(copy / CONFIG) | {"type": policy_type})
    with pytest.raises(UserError) as refused:
        find_folder(copy)
    assert f"policy type '{policy_type}' cannot be distilled: {REFUSED[policy_type]}." in str(refused.value)
    assert "reflow distills" in str(refused.value)


@pytest.mark.parametrize("policy_type", [name for name, own in _OWN.items() if own.packages])
def test_a_missing_package_is_named_with_the_extra_that_has_it(policy_type, monkeypatch):
    found, own = importlib.util.find_spec, _OWN[policy_type]
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in own.packages else found(name, *rest)
    )
    with pytest.raises(NotInstalledError, match=rf"{own.packages[0]}.*pip install 'reflow\[{own.extra}\]'"):
        get_adapter(policy_type)
