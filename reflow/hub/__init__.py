"""The Hugging Face hub: what is pulled from it, what is pushed to it, and its refusals in words without a token."""

from reflow.hub.pull import commit_of, pull
from reflow.hub.push import Delivered, Shipment, send
from reflow.hub.refusals import REFUSALS, HubError, refusal, without_tokens
from reflow.hub.repository import Repository

__all__ = [
    "REFUSALS",
    "Delivered",
    "HubError",
    "Repository",
    "Shipment",
    "commit_of",
    "pull",
    "refusal",
    "send",
    "without_tokens",
]
