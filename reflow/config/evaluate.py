"""``conf/evaluate.yaml``: its schema, what is refused at once, and what its figures are a function of."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from reflow.cli import build, plain
from reflow.config.checks import check_least
from reflow.config.parts import COMMON, GONE, data_arguments
from reflow.config.run_folder import RUN
from reflow.config.saved import at
from reflow.errors import UserError
from reflow.evaluation.folders import Folders
from reflow.evaluation.offline import OfflineSettings
from reflow.evaluation.simulator_settings import SimulatorSettings
from reflow.evaluation.viewer import check_viewer
from reflow.files import read_object
from reflow.policies import fingerprint
from reflow.policies.joining import TRAINED
from reflow.schema import keys_of, schema
from reflow.simulator.delay import check_idle, control_steps
from reflow.simulator.environment import EnvironmentSettings

_LIMITS = {"lower": list[float] | None, "upper": list[float] | None, "limit_margin": float}
EVALUATE = schema(
    **COMMON,
    **keys_of(OfflineSettings),
    **keys_of(SimulatorSettings),
    **_LIMITS,
    student=schema(path=str, trained=list[str]),
    env=dict[str, Any] | None,
    run_dir=str | None,
    device=str,
    offline=bool,
    viewer=str | None,
    viewer_episodes=int,
)
RENAMED = GONE | {"output": "is now run_dir"}
ALIASES = {"draws": "val_draws"}
# What changes no figure: how data are read.
_NOT_COMPARED = ("_target_", "num_workers", "prefetch_factor", "pin_memory", "preload")


def check_evaluation(config: DictConfig) -> None:
    """What can be said of the settings before anything is loaded.

    Raises:
        UserError: names the key, what is allowed there, and the value.
    """
    data_arguments(config, build(config.teacher))
    check_least(config, 0, "seed")
    check_least(config, 1, "data.batch_size", "data.val_frames")
    check_viewer(config.viewer, config.viewer_episodes)
    if not config.env and not config.offline:
        raise UserError(
            "offline=false and no environment: nothing is left to measure; add one (env=pick, env=aloha, ...)"
        )
    if OmegaConf.is_missing(config.student, "path"):
        raise UserError(
            "student.path is missing; give a run folder of reflow.train, a pretrained_model folder, or a hub id "
            "(student.path=outputs/demo)"
        )


def check_delay(
    simulator: SimulatorSettings, offline: OfflineSettings, env: EnvironmentSettings | None
) -> None:
    """What a world that goes on while a policy thinks needs: an environment, a way to stand still, a clock.

    Raises:
        UserError: one of them is missing.
    """
    if not simulator.delays:
        return
    if env is None:
        raise UserError(
            f"delay={simulator.delay} is played in a simulator; add one (env=pick, env=aloha, ...)"
        )
    check_idle(env.idle)
    if simulator.measures and offline.latency_chunks == 0:
        raise UserError("latency_chunks=0 times nothing, and delay=measured needs it; give 1 or more, say 50")


def check_given(run: Path | None, simulator: SimulatorSettings, fps: float) -> None:
    """Refuses more given actions than a student was trained for, where its run says how many.

    Args:
        run: the folder that the student lies in; None where it has none.
        simulator: what is played.
        fps: control steps a second.

    Raises:
        UserError: it was never given any, or a delay is longer.
    """
    if TRAINED not in simulator.ways or run is None or not (run / RUN).is_file():
        return
    most = at(read_object(run / RUN), "objective.rtc_training_max_delay")
    if not isinstance(most, int) or not most:
        raise UserError(
            f"rtc={TRAINED}: the student of {run} was not trained to be given actions; train one that is "
            "(objective.rtc_training_max_delay=10, in control steps), or leave it out"
        )
    given = {delay: control_steps(delay, fps) for delay in simulator.delays if not isinstance(delay, str)}
    if long := [delay for delay, steps in given.items() if steps > most]:
        raise UserError(
            f"rtc={TRAINED} with delay={long[0]}: {given[long[0]]} control steps at {fps:g} a second, and the "
            f"student of {run} was given at most {most} actions; train one that is given as many "
            f"(objective.rtc_training_max_delay={given[long[0]]}), or ask for shorter delays"
        )


def offline_identity(config: DictConfig, folders: Folders) -> dict[str, Any]:
    """What the offline figures are a function of."""
    whole = plain(config)
    names = (*(entry.name for entry in fields(OfflineSettings)), "seed", "device", *_LIMITS)
    return {
        **{name: whole[name] for name in names},
        **{f"data.{key}": value for key, value in whole["data"].items() if key not in _NOT_COMPARED},
        "teacher.num_steps": config.teacher.num_steps,
        "teacher": fingerprint(folders.teacher),
        "student": fingerprint(folders.student),
    }
