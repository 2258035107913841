"""What is a student worth? ``python -m reflow.evaluate student.path=outputs/demo env=pick``.

In the results' folder this leaves ``metrics.json`` (flat), ``arrays.safetensors``, ``report.html`` and, from the
simulator, ``plans.json``, ``episodes.jsonl`` and ``videos/``; with ``viewer=rerun`` a recording of chunks. The same
command again measures what is missing.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from omegaconf import DictConfig, OmegaConf

from reflow.cli import command, overrides, plain
from reflow.config.evaluate import (
    ALIASES,
    EVALUATE,
    RENAMED,
    check_delay,
    check_evaluation,
    check_given,
    offline_identity,
)
from reflow.config.inputs import open_inputs
from reflow.config.parts import device_of, settings_of
from reflow.data import LeRobotDataModule
from reflow.data.robot import robot_of
from reflow.evaluation.folders import WHO, Folders
from reflow.evaluation.measured import measured_latencies
from reflow.evaluation.offline import OfflineSettings, evaluate_offline
from reflow.evaluation.plan import plan_in
from reflow.evaluation.result_folder import ResultFolder
from reflow.evaluation.selection import check_unseen
from reflow.evaluation.simulated import VIDEOS, evaluate_in_simulator
from reflow.evaluation.simulator_settings import SimulatorSettings
from reflow.evaluation.summary import print_summary
from reflow.evaluation.viewer import RECORDING, looks_of, write_recording
from reflow.flow import Draws
from reflow.policies import check_belongs, check_way, load_policy, load_processors, share_frozen
from reflow.policies.joining import TRAINED
from reflow.probes import Figures, Observations
from reflow.probes.observations import TEACHER, episode_looks, load_rows
from reflow.reports.folder import CONFIGURATION, Words, content_of_run, save_words
from reflow.reports.page import write_report
from reflow.simulator.actor import Conditions
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.journal import read_episodes
from reflow.simulator.runtime import check_environment
from reflow.simulator.success import Success
from reflow.versions import machine_here, versions_here


def evaluate(config: DictConfig, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Runs, resumes or recognises one evaluation.

    Args:
        config: ``conf/evaluate.yaml``, composed.
        overrides: the command's own, for the page that says how to get there again.

    Returns:
        The flat metrics that ``metrics.json`` holds.

    Raises:
        UserError: bad input, before anything is measured.
        WorkerDiedError: a simulator process was killed; what was finished is safe.
    """
    check_evaluation(config)
    offline, simulator = settings_of(OfflineSettings, config), settings_of(SimulatorSettings, config)
    env = EnvironmentSettings.from_mapping(plain(config.env)) if config.env else None
    check_delay(simulator, offline, env)
    device = device_of(config.device)
    folders = Folders.find(config.student.path, config.teacher.path, config.run_dir)
    results, identity = ResultFolder(folders.output), offline_identity(config, folders)
    results.check_owner()
    found = results.offline(identity)
    if env is not None:
        check_given(folders.run, simulator, env.make_config().fps)
        plan, new = plan_in(folders.output, simulator.plan, read_episodes(folders.output))
        if new:
            check_unseen(folders.run, env.identity(), plan.seeds)

    by, data = _load(config, folders, device)
    metas = [source.meta for source in data.sources]
    robot = robot_of(*metas, lower=config.lower, upper=config.upper, limit_margin=config.limit_margin)
    if env is not None:
        check_environment(env, by.policies, {str(who): folder for who, folder in folders.policies.items()})
        for who, way in product(WHO, simulator.ways):
            if (who, way) != (TEACHER, TRAINED):
                check_way(by.policies[who], way)
    results.check_writable()

    if found is None and config.offline:
        found = evaluate_offline(by, data, robot, offline)
        results.keep_offline(identity, found)
    found = found or Figures()
    results.finish(found.metrics)
    success = Success()
    if env is not None:
        named = {"teacher": identity["teacher"], "student": identity["student"], "device": device}
        latencies = _latencies(by, data, results, named, simulator, offline) if simulator.measures else {}
        conditions = Conditions(env, simulator.noise_seed, device)
        joints = [joint for joint in range(len(robot.joints)) if joint not in robot.grippers]
        success = evaluate_in_simulator(
            conditions, folders.policies, simulator, folders.output, latencies, joints
        )
    metrics = {**found.metrics, **success.metrics}
    results.finish(metrics)
    (folders.output / CONFIGURATION).write_text(OmegaConf.to_yaml(config, resolve=True))
    words = Words(
        title=f"{folders.name}: student against teacher",
        num_steps=by.policies["student"].num_steps,
        commands=(shlex.join(["python", "-m", "reflow.evaluate", *overrides]),),
        versions=versions_here(),
        machine=machine_here(),
        joint_names=robot.joints,
        comparisons=success.comparisons,
    )
    save_words(folders.output, words)
    if config.viewer is not None:
        films = sorted((folders.output / VIDEOS).glob("*.mp4"))
        looks = looks_of(by, data, config.viewer_episodes)
        shown = write_recording(folders.output / RECORDING, words.title, looks, robot.joints, films)
        print(f"viewer  rerun {shown}")
    content = content_of_run(folders.output)
    write_report(content, folders.output / "report.html")
    print_summary(metrics, success, content.verdict.sentence, folders.output)
    return metrics


def _load(config: DictConfig, folders: Folders, device: str) -> tuple[Observations, LeRobotDataModule]:
    """Both policies, and the held-out observations they are shown."""
    inputs = open_inputs(config, device=device, preload=False)  # each frame is looked at once or twice
    teacher = inputs.teacher
    teacher.num_steps = inputs.source.steps(teacher)
    check_belongs(folders.student, folders.teacher, loaded=teacher, trained=config.student.trained)
    student = load_policy(folders.student, device)
    _, student_postprocess = load_processors(folders.student, student)
    teacher.requires_grad_(False)
    student.requires_grad_(False)
    share_frozen(teacher, student)
    by = Observations(
        {"teacher": teacher, "student": student},
        Draws(config.seed),
        config.val_draws,
        postprocess={"teacher": inputs.postprocess, "student": student_postprocess},
    )
    return by, inputs.open_data(seed=config.seed)


def _latencies(
    by: Observations,
    data: LeRobotDataModule,
    results: ResultFolder,
    identity: Mapping[str, Any],
    simulator: SimulatorSettings,
    offline: OfflineSettings,
) -> dict[str, float]:
    """Of all contenders here, measured on the first held-out observation, or as they were the first time."""
    row = episode_looks(data, by.policies[TEACHER].config.n_action_steps)[0][:1]
    return measured_latencies(
        results, identity, simulator.steps, lambda: by.see(next(load_rows(data, row))), offline.latency_chunks
    )


@command("evaluate", EVALUATE, renamed=RENAMED, aliases=ALIASES)
def main(config: DictConfig) -> None:
    """Command-line entry."""
    evaluate(config, overrides())


if __name__ == "__main__":
    main()
