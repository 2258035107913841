"""Pushes a run's student to the Hugging Face hub: ``python -m reflow.push run_dir=outputs/demo repo_id=me/student``.

With it goes its card, which says what it was made of, how, and what it is worth. Who may push is the token's business
(``hf auth login``, or ``HF_TOKEN``); no key of the configuration holds one, and none is ever printed.
"""

from __future__ import annotations

from omegaconf import DictConfig
from rich.console import Console

from reflow.cli import command
from reflow.config.shipment import PUSH, shipment_of
from reflow.hub import Delivered, Repository, Shipment, send
from reflow.policies.files import CARD
from reflow.words import size_words


def push(config: DictConfig) -> Delivered | None:
    """Sends a student, or says what would be sent.

    Args:
        config: ``conf/push.yaml``, composed.

    Returns:
        What lies there; None for a dry run.

    Raises:
        MissingFileError: there is no finished run.
        HubError: the hub cannot be reached, or refuses.
        UserError: bad input, before anything is sent.
    """
    shipment = shipment_of(config)
    if config.dry_run:
        _say("\n".join(_listing(shipment, config.run_dir)))
        return None
    done = send(shipment)
    at_commit = Repository(shipment.repository.repo_id, done.commit)
    lines = [f"pushed  {done.url}  ({'private' if done.private else 'public'})", f"commit  {done.commit}"]
    lines += [f"deleted {name}, of an earlier push" for name in done.deleted]
    _say("\n".join([*lines, f"pull    python -m reflow.evaluate student.path={at_commit}"]))
    return done


def _listing(shipment: Shipment, run: str) -> list[str]:
    sizes = {
        name: len(content) if isinstance(content, bytes) else content.stat().st_size
        for name, content in sorted(shipment.files.items())
    }
    return [
        f"dry run: nothing is sent. To {shipment.repository}, "
        f"{'seen by its owner alone' if shipment.private else 'seen by everybody'}, would go",
        *(f"{size_words(size):>8}  {name}" for name, size in sizes.items()),
        f"{size_words(sum(sizes.values())):>8}  in {len(sizes)} files, as: {shipment.message}",
        f"The card is written: {run}/pretrained_model/{CARD}",
    ]


def _say(text: str) -> None:
    Console().print(text, soft_wrap=True, highlight=False, markup=False)


@command("push", PUSH)
def main(config: DictConfig) -> None:
    """Command-line entry."""
    push(config)


if __name__ == "__main__":
    main()
