"""``python -m reflow.sizes``: tables for people, a document for machines, and what is refused."""

import json
import sys

import pytest

from reflow.errors import NotInstalledError, UserError
from reflow.policies import real
from reflow.sizes import main, sizes
from tests.distill.conftest import composed


def test_the_command_prints_tables_or_json(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sizes", "policies=[smolvla]", "lora=8"])
    main()
    shown = capsys.readouterr().out
    assert "lora=8" in shown
    assert "450 M" in shown
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--json"])
    main()
    document = json.loads(capsys.readouterr().out)["smolvla"]
    assert document["total"] == sum(document["groups"].values()) == document["bytes"]["teacher"] / 4
    assert document["low_rank"] < document["trained"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [("lora=0", "lora=0; allowed"), ("policies=[act]", "policies holds act; sizes are known")],
)
def test_what_cannot_be_counted_is_refused(setting, message):
    with pytest.raises(UserError, match=message):
        sizes(composed(setting, config_name="sizes"))


def test_a_missing_package_leaves_a_policy_out_unless_it_was_asked_for(monkeypatch, capsys):
    def refuse(policy_type):
        if policy_type != "smolvla":
            raise NotInstalledError(f"a policy of type {policy_type} needs diffusers")
        return real.without_weights(policy_type)

    monkeypatch.setattr("reflow.sizes.without_weights", refuse)
    assert list(sizes(composed(config_name="sizes"))) == ["smolvla"]
    assert "groot is left out: a policy of type groot needs diffusers" in capsys.readouterr().err
    with pytest.raises(NotInstalledError):
        sizes(composed("policies=[evo1]", config_name="sizes"))
