"""A student goes to the hub whole or not at all, comes back by id and revision, and no token is ever said."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from reflow.errors import MissingFileError, UserError
from reflow.hub import HubError
from reflow.policies import find_folder, fingerprint, load_policy
from reflow.policies.sums import SUMS, files_in_sums, write_sums
from reflow.push import push
from tests.builders import make_batch
from tests.distill.conftest import composed
from tests.hub.conftest import Push
from tests.hub.server import OWNER, READER, Hub, Repo

FIRST = {".gitattributes"}


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_a_student_is_pushed_and_pulled_by_id_and_revision(
    pushed: Push, hub: Hub, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = run / "pretrained_model"
    (student / "vlm" / "older.txt").write_text("what this student's next one has no more")
    write_sums(student)
    first = pushed()
    assert first is not None
    assert first.private
    repo = hub.repos["me/student"]
    assert repo.private
    tree = repo.commits[first.commit]
    assert set(tree) - FIRST == {*files_in_sums(student), SUMS}

    second = pushed("message=once more")
    assert second is not None
    assert second.commit == first.commit  # nothing has changed
    assert hub.count("^PUT /lfs/") == 3  # and no large file went twice
    (student / "vlm" / "older.txt").unlink()
    write_sums(student)
    third = pushed("revision=other")
    assert third is not None
    assert third.deleted == ("vlm/older.txt",)
    assert repo.branches["main"] == first.commit
    assert set(repo.commits[repo.branches["other"]]) == set(tree) - set(third.deleted)

    here = find_folder("me/student")
    assert here.name == first.commit
    assert find_folder(f"me/student@{first.commit}") == here
    assert find_folder("me/student@main") == here
    assert OWNER in hub.bearers
    assert OWNER not in said(capsys)


def test_what_was_pulled_acts_as_what_was_pushed(
    pushed: Push, hub: Hub, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = run / "pretrained_model"
    (student / "backbone").mkdir()
    (student / "backbone" / "words.model").write_bytes(b"a name that no pattern knows")
    write_sums(student)
    done = pushed()
    assert done is not None
    here = find_folder(f"me/student@{done.commit}", "student.path")
    assert (here / "backbone" / "words.model").read_bytes() == b"a name that no pattern knows"
    config = json.loads((here / "config.json").read_text())
    assert config["vlm_model_name"] == "vlm"  # no path of this machine
    texts = [
        file.read_text() for file in here.rglob("*") if file.suffix in (".json", ".md") or file.name == SUMS
    ]
    assert not [text for text in texts if str(run) in text or str(Path.home()) in text]
    assert "is not what was written" not in capsys.readouterr().err
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=here, check=True, capture_output=True)
    ours, theirs = load_policy(student), load_policy(here)
    batch, noise = make_batch(ours, 2), torch.randn(2, 8, 32)
    assert torch.equal(ours.stock_chunk(batch, noise), theirs.stock_chunk(batch, noise))
    assert fingerprint(student) != fingerprint(here)  # the configuration names its backbone another way

    (here / "model.safetensors").unlink()
    (here / "model.safetensors").write_bytes((here / "policy_preprocessor.json").read_bytes())
    with pytest.raises(UserError, match=r"model\.safetensors is no whole safetensors file"):
        find_folder(f"me/student@{done.commit}", "student.path")


def test_a_dry_run_asks_nobody(pushed: Push, hub: Hub, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pushed("dry_run=true") is None
    shown = capsys.readouterr().out
    assert not hub.seen
    for name in (*files_in_sums(run / "pretrained_model"), SUMS):
        assert f" {name}\n" in shown
    assert "To me/student, seen by its owner alone" in shown
    card = (run / "pretrained_model" / "README.md").read_text()
    assert "--revision" not in card
    assert "hf download me/student --local-dir student" in card


@pytest.mark.parametrize(
    ("pattern", "status", "words"),
    [
        ("POST /api/repos/create", 401, r"401: the hub knows no such token.*log in"),
        ("POST /api/repos/create", 403, r"403: your token may not do that"),
        ("POST .*/preupload/", 404, r"404: there is no such repository"),
        ("POST .*/commit/", 412, r"412: the repository has changed meanwhile"),
        ("POST .*/commit/", 500, r"500: the hub is at fault"),
        ("PUT /lfs/", 403, r"403: your token may not do that"),
        ("POST .*/commit/", None, r"the hub cannot be reached, or went away \(\w+\)"),
        ("PUT /lfs/", None, r"the hub cannot be reached, or went away \(\w+\)"),
    ],
)
def test_what_the_hub_refuses_is_one_line_without_a_token(
    pushed: Push, hub: Hub, pattern: str, status: int | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.fail(pattern, status, times=99)
    with pytest.raises(HubError, match=f"me/student was not pushed: {words}") as refused:
        pushed()
    assert OWNER not in str(refused.value) + said(capsys)
    assert refused.value.__cause__ is refused.value.__context__ is None  # a traceback has no more of it
    repo = hub.repos.get("me/student")
    assert repo is None or set(repo.commits[repo.branches["main"]]) == FIRST  # nothing half
    hub.faults.clear()
    sent = hub.count("^PUT /lfs/")
    done = pushed()  # the same command goes on
    assert done is not None
    assert set(hub.repos["me/student"].commits[done.commit]) > FIRST
    assert (hub.count("^PUT /lfs/") == sent) == ("commit" in pattern)  # what has arrived is not sent twice


@pytest.mark.parametrize(
    ("token", "words"), [("hf_nobodyknowsthistoken", "401: "), (READER, "403: "), ("", "401: ")]
)
def test_a_token_that_may_not_write(
    pushed: Push,
    hub: Hub,
    token: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError, match=words) as refused:
        pushed()
    assert not hub.repos
    assert not token or token not in str(refused.value) + said(capsys)


def test_a_repository_that_everybody_sees_is_refused(pushed: Push, hub: Hub) -> None:
    hub.repos["me/student"] = Repo(private=False)
    hub.repos["me/student"].commit("main", {})
    with pytest.raises(HubError, match=r"everybody sees it; give private=false.*Nothing was sent"):
        pushed()
    assert not hub.store
    done = pushed("private=false")
    assert done is not None
    assert not done.private


def test_what_arrives_changed_is_found(pushed: Push, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Repo.commit

    def other(repo: Repo, branch: str, tree: dict[str, bytes]) -> str:
        return commit(repo, branch, {name: content.replace(b"4", b"5") for name, content in tree.items()})

    monkeypatch.setattr(Repo, "commit", other)
    with pytest.raises(HubError, match=r"has not what was sent: README\.md, "):
        pushed()


def test_offline_is_said(pushed: Push, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        pushed()
    with pytest.raises(MissingFileError, match=r"me/student is neither a folder here.*HF_HUB_OFFLINE is set"):
        find_folder("me/student")
    assert not hub.seen


def test_what_is_not_there_to_be_pulled_is_told_why(
    pushed: Push, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed()
    with pytest.raises(MissingFileError, match="it has no revision longer"):
        find_folder("me/student@longer", "student.path")
    with pytest.raises(MissingFileError, match="404: there is no such repository"):
        find_folder("me/nothing")
    monkeypatch.setenv("HF_TOKEN", "hf_nobodyknowsthistoken")
    with pytest.raises(
        MissingFileError, match="404: there is no such repository, or your token may not"
    ) as refused:
        find_folder("me/student@other")
    assert "hf_nobody" not in str(refused.value)
    for never in ("me/student@", "me/student@a..b", "me@1/student", "/nowhere/student"):
        with pytest.raises(MissingFileError, match="no path of a folder, and no owner/name"):
            find_folder(never)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["repo_id=null"], r"repo_id is missing; give it \(repo_id=me/student\)"),
        (["run_dir=null"], r"run_dir is missing; give it"),
        (["repo_id=student"], "repo_id=student; allowed: owner/name"),
        (["repo_id=me/student@main"], "repo_id=me/student@main; allowed: owner/name"),
        (["revision=a..b"], r"revision=a\.\.b; allowed: the name of a branch"),
        (["message='one\ttwo'"], "message=.*; allowed: one line"),
        (["run_dir=nowhere"], r"run_dir=nowhere is no run of reflow\.train \(run\.json is missing\)"),
    ],
)
def test_what_cannot_be_pushed_is_refused_at_once(
    pushed: Push, hub: Hub, run: Path, overrides: list[str], words: str
) -> None:
    asked = [f"run_dir={run}", "repo_id=me/student", *overrides]
    config = composed(*asked, config_name="push")
    with pytest.raises(UserError, match=words):
        push(config)
    assert not hub.seen


def test_a_run_that_is_not_whole_is_not_pushed(pushed: Push, hub: Hub, run: Path) -> None:
    weights = run / "pretrained_model" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"model\.safetensors is not what was written"):
        pushed()
    (run / "metrics.json").unlink()
    with pytest.raises(MissingFileError, match=r"not finished \(metrics\.json is missing\)"):
        pushed()
    assert not hub.seen
