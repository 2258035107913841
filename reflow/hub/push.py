"""A folder's files sent to the hub as one commit: all of them arrive, or none does, and then it is looked whether.

Large files go first and are not sent twice; the commit names them. So a push that was stopped leaves the repository
as it was, and the same command goes on. Left out: what is sent (:mod:`reflow.config.shipment`).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.hf_api import RepoFile

from reflow.hub.refusals import REFUSALS, HubError, refusal
from reflow.hub.repository import Repository
from reflow.versions import versions_of

MAIN = "main"


@dataclass(frozen=True)
class Shipment:
    """What is to lie on the hub.

    Attributes:
        repository: where to; its revision is a branch, made where it is missing, or None for main.
        private: whether a repository that is made is seen by its owner alone. One that is there stays as it is.
        message: of the commit, one line.
        files: by their names there: a file here, or its content.
        listing: the name of the file among them that lists them; what an older one lists and this one does not is
            deleted.
    """

    repository: Repository
    private: bool
    message: str
    files: Mapping[str, Path | bytes]
    listing: str


@dataclass(frozen=True)
class Delivered:
    """What lies there.

    Attributes:
        commit: its hash.
        url: of the repository's page.
        deleted: names of files of an earlier push that are no more.
        private: whether only the owner sees it.
    """

    commit: str
    url: str
    deleted: tuple[str, ...]
    private: bool


def send(shipment: Shipment) -> Delivered:
    """Sends a shipment, and compares what lies there with what was sent.

    Args:
        shipment: what goes where.

    Raises:
        HubError: the hub cannot be reached, refuses, or has something else afterwards; nothing half is left there.
    """
    said = None
    try:
        with _quiet():
            return _send(shipment)
    except HubError:
        raise
    except (*REFUSALS, RuntimeError, ValueError) as error:
        # It wraps what went wrong with a large file, and refuses cards and answers that are none.
        if isinstance(error, RuntimeError) and not isinstance(error.__cause__, REFUSALS):
            raise
        said = refusal(error, shipment.repository)
    # Out here, so that a traceback has no more of it: the hub's own words may hold a token.
    raise HubError(f"{shipment.repository} was not pushed: {said}")


def _send(shipment: Shipment) -> Delivered:
    to = shipment.repository
    api = HfApi(library_name="reflow", library_version=versions_of(["reflow"]).get("reflow"))
    api.create_repo(to.repo_id, private=shipment.private, exist_ok=True)
    info = api.model_info(to.repo_id)
    if shipment.private and not info.private:
        raise HubError(
            f"repo_id={to.repo_id} is there already, and everybody sees it; give private=false if everybody may see "
            "the student, or another repo_id. Nothing was sent"
        )
    if to.revision not in (None, MAIN):
        api.create_branch(to.repo_id, branch=str(to.revision), exist_ok=True)
    parent = api.model_info(to.repo_id, revision=to.revision).sha
    stale = tuple(sorted(_stale(api, shipment, parent)))
    done = api.create_commit(
        to.repo_id,
        [CommitOperationAdd(name, content) for name, content in sorted(shipment.files.items())]
        + [CommitOperationDelete(name) for name in stale],
        commit_message=shipment.message,
        revision=to.revision,
        parent_commit=parent,
    )
    _check(api, shipment, done.oid)
    return Delivered(done.oid, f"{api.endpoint}/{to.repo_id}", stale, bool(info.private))


def _stale(api: HfApi, shipment: Shipment, parent: str | None) -> Iterator[str]:
    """Files there that an earlier push listed, and this one does not."""
    to, name = shipment.repository.repo_id, shipment.listing
    there = {file.path: file for file in _tree(api, to, parent)}
    if name not in there:
        return
    listing = Path(api.hf_hub_download(to, name, revision=parent))
    for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
        listed = line.partition("  ")[2]
        if listed in there and listed not in shipment.files and not listed.startswith(".git"):
            yield listed


def _check(api: HfApi, shipment: Shipment, commit: str) -> None:
    there = {file.path: file for file in _tree(api, shipment.repository.repo_id, commit)}
    wrong = [
        name
        for name, content in sorted(shipment.files.items())
        if name not in there or not _same(there[name], content)
    ]
    if wrong:
        raise HubError(
            f"{shipment.repository}: commit {commit[:12]} has not what was sent: {', '.join(wrong[:4])} "
            f"({len(wrong)} of {len(shipment.files)} files); give the command again"
        )


def _tree(api: HfApi, repo_id: str, revision: str | None) -> Iterator[RepoFile]:
    entries = api.list_repo_tree(repo_id, recursive=True, revision=revision)
    return (entry for entry in entries if isinstance(entry, RepoFile))


def _same(there: RepoFile, content: Path | bytes) -> bool:
    """By the checksum that the hub keeps: of a large file SHA-256, of a small one git's."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if there.lfs is not None:
        return (there.lfs.size, there.lfs.sha256) == (size, _digest("sha256", b"", content))
    return (there.size, there.blob_id) == (size, _digest("sha1", f"blob {size}\0".encode(), content))


def _digest(kind: str, head: bytes, content: Path | bytes) -> str:
    digest = hashlib.new(kind, head, usedforsecurity=False)
    if isinstance(content, bytes):
        digest.update(content)
        return digest.hexdigest()
    with open(content, "rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """In here huggingface_hub warns of nothing: it would in the server's words."""
    library = logging.getLogger("huggingface_hub")
    before = library.level
    library.setLevel(logging.ERROR)
    try:
        yield
    finally:
        library.setLevel(before)
