"""It must be impossible to hurt somebody with a file: each is made for real, opened as commands do, and refused."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from reflow import sizes
from reflow.cli import build
from reflow.config.run_folder import RunFolder
from reflow.errors import UserError
from reflow.files import NotJSONError, read_json
from reflow.policies import find_folder, load_policy, load_processors
from reflow.trust import package_of
from tests.hostile.attacks import ATTACKS, DEEP
from tests.hostile.scene import Bomb, Scene, edit


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_runs_and_the_reason_is_said(name: str, scene: Scene) -> None:
    attack, words = ATTACKS[name]
    with pytest.raises(UserError, match=f"(?s){words}") as refused:
        attack(scene)
    assert not scene.marker.exists()
    assert len(str(refused.value)) < 2_000  # a line, not the file


def test_what_lies_beside_a_policy_and_is_not_asked_for_is_not_opened(scene: Scene) -> None:
    folder = scene.teacher()
    for name in ("pytorch_model.bin", "model.pt", "vlm/pytorch_model.bin", "training_state.pkl"):
        torch.save({"weights": Bomb(scene.marker)}, folder / name)
    (folder / "vlm" / "evil.py").write_text(scene.code)
    asks = {"AutoConfig": "evil.Evil", "AutoTokenizer": ["evil.Evil", None], "AutoModel": "evil.Evil"}
    for name in ("config.json", "tokenizer_config.json"):
        edit(folder / "vlm" / name, lambda content: content.update(auto_map=asks))
    edit(folder / "config.json", lambda content: content.update(load_vlm_weights=True))
    found = find_folder(folder)
    load_processors(found, load_policy(found))
    assert not scene.marker.exists()


def test_a_callback_of_hydra_s_is_held_to_the_list_too(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    group = scene.here / "mine" / "experiment"
    group.mkdir(parents=True)
    callbacks = {"hydra": {"callbacks": {"evil": scene.target}}}
    (group / "evil.yaml").write_text(f"# @package _global_\n{json.dumps(callbacks)}\n")
    where = f"hydra.searchpath=[file://{scene.here / 'mine'}]"
    scene.patch.setattr(sys, "argv", ["sizes", where, "+experiment=evil"])
    with pytest.raises(SystemExit) as end:
        sizes.main()
    assert not scene.marker.exists()
    assert end.value.code == 2
    assert "_target_=pathlib.Path.touch; allowed" in capsys.readouterr().err


def test_a_package_is_trusted_by_the_word_of_its_user_alone(scene: Scene) -> None:
    target = {"_target_": f"{scene.module()}.Evil"}
    with pytest.raises(UserError, match="REFLOW_TRUST=reflow_hostile_module"):
        build(target)
    assert not scene.marker.exists()
    scene.patch.setenv("REFLOW_TRUST", "other, reflow_hostile_module")
    assert type(build(target)).__name__ == "Evil"
    with pytest.raises(UserError, match="and not defined in reflow_hostile_module"):
        build({"_target_": "reflow_hostile_module.pathlib.Path"})
    assert package_of("reflow_hostile_module_2.x") is None


def test_an_installed_package_may_name_itself(scene: Scene) -> None:
    name = scene.module()
    about = scene.here / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[reflow.trust]\nmine = {name}\n")
    assert type(build({"_target_": f"{name}.Evil"})).__name__ == "Evil"


def test_a_run_keeps_its_id_and_no_two_have_the_same(tmp_path: Path) -> None:
    one, other = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "other")
    for run in (one, other):
        run.claim({"seed": 1})
    first = one.id
    one.claim({"seed": 1})
    assert one.id == first != other.id
    one.check({"seed": 1})  # it is no part of what is compared
    (tmp_path / "one" / "run.json").write_text('{"seed": 1}')  # of before there were ids
    one.claim({"seed": 1})
    assert one.id is None


def test_a_pipe_and_a_file_beyond_measure_are_no_json(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(2**40)
    for name in ("pipe", "sparse"):
        with pytest.raises(NotJSONError, match=f"{name} is no file of at most 256 MiB"):
            read_json(tmp_path / name)
    with pytest.raises(NotJSONError, match="is a folder"):
        read_json(tmp_path)
    assert len(DEEP) > sys.getrecursionlimit()
