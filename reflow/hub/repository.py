"""A repository of the hub as users write it: ``owner/name``, or ``owner/name@revision``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from reflow.errors import UserError

_REVISION = re.compile(r"[\w.][\w./-]{0,199}")
ALLOWED = "owner/name, or owner/name@REVISION with a branch, a tag or a commit"


@dataclass(frozen=True)
class Repository:
    """A repository, at one of its revisions.

    Attributes:
        repo_id: ``owner/name``.
        revision: a branch, a tag, or the hash of a commit; None for its main branch.
    """

    repo_id: str
    revision: str | None = None

    @classmethod
    def read(cls, text: str) -> Repository | None:
        """Of what a user wrote; None for what can be none."""
        repo_id, at, revision = text.partition("@")
        if repo_id.count("/") != 1 or (at and not _is_revision(revision)):
            return None
        try:
            validate_repo_id(repo_id)
        except HFValidationError:
            return None
        return cls(repo_id, revision or None)

    @classmethod
    def named(cls, repo_id: str, revision: str | None, *, where: tuple[str, str]) -> Repository:
        """Of what two keys of a configuration say.

        Args:
            repo_id: ``owner/name``.
            revision: None for the main branch.
            where: the two keys, for errors.

        Raises:
            UserError: one of them is none.
        """
        if (found := cls.read(repo_id)) is None or found.revision is not None:
            raise UserError(
                f"{where[0]}={repo_id}; allowed: owner/name, of letters, digits, '-', '_' and '.'"
            )
        if revision is not None and not _is_revision(revision):
            raise UserError(f"{where[1]}={revision}; allowed: the name of a branch, or null for main")
        return cls(repo_id, revision)

    def __str__(self) -> str:
        return self.repo_id if self.revision is None else f"{self.repo_id}@{self.revision}"


def _is_revision(text: str) -> bool:
    return _REVISION.fullmatch(text) is not None and ".." not in text and "//" not in text
