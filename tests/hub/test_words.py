"""A repository as users write it; commands without places of this machine and without secrets."""

import pytest

from reflow.config.portable import portable
from reflow.hub import Repository, commit_of, without_tokens
from reflow.hub.refusals import refusal


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("me/student", Repository("me/student")),
        ("me/student@v1.0", Repository("me/student", "v1.0")),
        ("me/student@refs/pr/3", Repository("me/student", "refs/pr/3")),
        ("outputs/demo/pretrained_model", None),
        ("student", None),
        ("/me/student", None),
        ("me/student@", None),
        ("me/student@../other", None),
        ("me/st udent", None),
        ("me/--student", None),
    ],
)
def test_a_repository_is_read(text: str, found: Repository | None) -> None:
    assert Repository.read(text) == found
    assert found is None or str(found) == text


def test_the_commit_of_a_folder_in_the_cache(tmp_path) -> None:
    commit = "0123456789abcdef" * 2 + "01234567"
    assert commit_of(tmp_path / "snapshots" / commit) == commit
    assert commit_of(tmp_path / "snapshots" / commit / "vlm") == commit
    assert commit_of(tmp_path / "snapshots" / "main") is None
    assert commit_of(tmp_path) is None


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("python -m reflow.train +fix=full32", "python -m reflow.train +fix=full32"),
        ("x run_dir=/home/me/outputs/demo", "x run_dir=DIR/demo"),
        (
            "x teacher.path=/data/my_smolvla/checkpoints/005000/pretrained_model",
            "x teacher.path=DIR/my_smolvla",
        ),
        ("x teacher.path=~/mine data.root=outputs/a", "x teacher.path=DIR/mine data.root=outputs/a"),
        ("x teacher.path=me/teacher@main", "x teacher.path=me/teacher@main"),
        (
            "x 'data.mixture=[{repo_id: me/a, root: /home/me/a}]'",
            "x 'data.mixture=[{repo_id: me/a, root: DIR/a}]'",
        ),
        ("x logger.wandb.api_key=abc", "x 'logger.wandb.api_key=***'"),
        ("x name=hf_0123456789abcdef", "x 'name=***'"),
        ("x data.repo_id=me/hf_robotics_demo", "x data.repo_id=me/hf_robotics_demo"),
        ("x 'unfinished", "x ''\"'\"'unfinished'"),
    ],
)
def test_a_command_as_others_may_read_it(command: str, shown: str) -> None:
    assert portable(command) == shown


def test_what_looks_like_a_token_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "of-another-kind")
    said = "hf_abcdefgh12345678 of-another-kind Bearer something api_org_abcdefgh12345678"
    assert without_tokens(said) == "*** *** Bearer *** ***"


def test_a_refusal_that_is_none_of_the_hub_s() -> None:
    assert refusal(OSError("disk hf_abcdefgh12345678\nfull")) == "OSError: disk *** full"
