"""Distill, play, aggregate, again: ``python -m reflow.rounds 'rollouts={env:pick}'``.

In the first round the teacher plays, in every further one the student of the round before. What is seen joins what
was seen before; the teacher says what to do with all of it; a new student learns from that. So it learns where *it*
goes (Ross et al. 2011, "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning").

A round is three commands, each of which goes on where it stopped; so does this one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from reflow.cli import command, composed, plain
from reflow.config.checks import check_least
from reflow.config.rollouts import Rollouts
from reflow.config.train import check_settings
from reflow.errors import UserError
from reflow.pairs import generate
from reflow.rollouts import record
from reflow.schema import schema
from reflow.train import train

ROUNDS = schema(
    name=str,
    run_dir=str | None,
    rounds=int,
    first_seed=int,
    rollouts=Any,
    shared=Any,
    pairs=Any,
    train=Any,
)
_OFF = ("fix", "experiment", "method")
SEEDS = 1_000_000
"""Between the first seeds of two rounds."""


def run_rounds(config: DictConfig) -> Path:
    """Goes through all rounds.

    Args:
        config: ``conf/rounds.yaml``, composed.

    Returns:
        The last student's run folder.

    Raises:
        UserError: as of ``reflow.rollouts``, ``reflow.pairs`` and ``reflow.train``.
    """
    check_least(config, 1, "rounds")
    check_least(config, 0, "first_seed")
    root = Path(config.run_dir or f"outputs/{config.name}").resolve()
    values = {
        name: _overrides(name, plain(config)[name]) for name in ("rollouts", "shared", "pairs", "train")
    }
    for number in range(config.rounds):
        here = root / f"round_{number}"
        print(f"round {number} of {config.rounds}: {here}", flush=True)
        before = root / f"round_{number - 1}" if number else None
        _play([*values["rollouts"], f"seed={config.first_seed + number * SEEDS}"], here / "rollouts", before)
        mixture = _mixture([root / f"round_{one}" for one in range(number + 1)])
        grown = [] if before is None else [f"grown_from={before / 'pairs'}"]
        made = [*values["shared"], *values["pairs"], *mixture, f"run_dir={here / 'pairs'}", *grown]
        cache = composed("pairs", *made)
        generate(cache, made)
        pool = f"objective.draw_pool={cache.draws}"
        learned = [*values["shared"], pool, *values["train"], *mixture, f"pairs.path={here / 'pairs'}"]
        asked = composed("train", *learned, f"run_dir={here / 'student'}")
        check_settings(asked)
        train(asked, here / "student")
    return here / "student"


def _overrides(name: str, section: Mapping[str, Any] | None) -> list[str]:
    """Keys and values as a command line has them; the groups that are off until asked for begin with a plus."""
    if section is None:
        return []
    if not isinstance(section, Mapping):
        raise UserError(f"{name}={section}; allowed: keys and values, as '{name}={{key: value}}', or null")
    return [f"{'+' * (key in _OFF)}{key}={_text(value)}" for key, value in section.items()]


def _text(value: object) -> str:
    return "null" if value is None else json.dumps(value) if isinstance(value, str) else str(value)


def _play(asked: Sequence[str], data: Path, before: Path | None) -> None:
    if data.exists():  # whole: it appears under this name when it is
        return
    player = [] if before is None else [f"policy={before / 'student' / 'pretrained_model'}"]
    record(Rollouts.from_config(composed("rollouts", *asked, *player, f"run_dir={data}")))


def _mixture(rounds: Sequence[Path]) -> list[str]:
    sets = ", ".join(f"{{repo_id: rollouts/{one.name}, root: {one / 'rollouts'}}}" for one in rounds)
    return [f"data.mixture=[{sets}]", "data.allow_short_episodes=true"]  # an episode is a handful of looks


@command("rounds", ROUNDS)
def main(config: DictConfig) -> None:
    """Command-line entry."""
    print(f"the last student is in {run_rounds(config)}")


if __name__ == "__main__":
    main()
