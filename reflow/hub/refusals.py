"""What the hub refuses, in words that a user can act on. No token is ever in them.

Left out: asking again, which huggingface_hub does by itself where that may help.
"""

from __future__ import annotations

import re

import httpx
from huggingface_hub import get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)

from reflow.errors import UserError
from reflow.hub.repository import Repository

REFUSALS = (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx.HTTPError, OSError)
"""What huggingface_hub raises where the hub cannot be asked, or does not give or take what it is asked."""

_TOKEN = re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{16,}|(?<=Bearer )\S+")
_LOG_IN = "log in (hf auth login) or set HF_TOKEN"
_BY_STATUS = {
    400: "the hub does not take what was sent",
    401: f"the hub knows no such token, or wants one: {_LOG_IN}",
    404: f"there is no such repository, or your token may not see it; {_LOG_IN} if it is private",
    403: "your token may not do that; give it the right to write there, or take one that has it",
    409: "somebody else is changing the repository; give the command again",
    412: "the repository has changed meanwhile; give the command again",
    413: "a file is larger than the hub takes",
    429: "the hub was asked too often; wait a while and give the command again",
}


class HubError(UserError):
    """The hub cannot be reached, or refuses."""


def refusal(error: BaseException, repository: Repository | None = None) -> str:
    """Why the hub gave or took nothing, in a few words.

    Args:
        error: one of `REFUSALS`, or made of one.
        repository: that was asked for, where that is known.
    """
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]  # None ends it
    for one in chain:
        if isinstance(one, OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set, so the hub is not asked; unset it to be online"
        if isinstance(one, RevisionNotFoundError):
            revision = repository.revision if repository is not None else None
            return f"it has no revision {revision}" if revision else "there is no such revision"
        if isinstance(one, GatedRepoError):
            return "access is granted on its page on the hub, and not to you yet"
        if isinstance(one, HfHubHTTPError):
            return _by_status(one)
        if isinstance(one, httpx.HTTPError):
            return f"the hub cannot be reached, or went away ({type(one).__name__}); give the command again later"
    return without_tokens(f"{type(chain[0]).__name__}: {' '.join(str(chain[0]).split())[:300]}")


def without_tokens(text: str) -> str:
    """Text with whatever looks like a token, and the user's own one, left out."""
    own = get_token()
    if own:
        text = text.replace(own, "***")
    return _TOKEN.sub("***", text)


def _by_status(error: HfHubHTTPError) -> str:
    status = error.response.status_code
    said = _BY_STATUS.get(
        status, "the hub is at fault; give the command again later" if status >= 500 else ""
    )
    server = without_tokens(" ".join((error.server_message or "").split()))[:200]
    words = [f"{status}", *([said] if said else []), *([f"it says: {server}"] if server else [])]
    return ": ".join(words[:2]) + "".join(f" ({one})" for one in words[2:])
