"""Environments brought to life: what must be installed, and whether these policies can play there."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
from lerobot.configs import PreTrainedConfig
from lerobot.envs.configs import EnvConfig
from lerobot.envs.factory import make_env
from lerobot.envs.utils import close_envs

from reflow.errors import NotInstalledError, UserError
from reflow.policies import FlowPolicy, saved_rename
from reflow.quiet import unprinted
from reflow.simulator import libero, metaworld, robotwin
from reflow.simulator.environment import EnvironmentSettings, check_fit
from reflow.simulator.gl import prepare_gl

_MUJOCO = ("aloha", "libero", "metaworld")  # render with it; what other packages bring sees to that itself
_RUNTIMES = {
    "libero": libero.check_runtime,
    "metaworld": metaworld.check_runtime,
    "robotwin": robotwin.check_runtime,
}


def make_vector_env(settings: EnvironmentSettings) -> Any:
    """The environment as ``lerobot-eval`` has it: a gymnasium ``VectorEnv``, a batch of one.

    Raises:
        UserError: the settings name several tasks.
        NotInstalledError: the environment's package or runtime is not installed.
        UserError: MuJoCo has nothing to render with.
    """
    if settings.type in _MUJOCO:
        prepare_gl()
    config = settings.make_config()
    try:
        with unprinted():
            envs = make_env(config, n_envs=1, use_async_envs=False)
    except ModuleNotFoundError as error:
        raise _not_installed(config, error.name or config.package_name) from error
    made = [env for tasks in envs.values() for env in tasks.values()]
    if len(made) != 1:
        names = [f"{suite}/{task}" for suite, tasks in envs.items() for task in tasks]
        close_envs(envs)
        raise UserError(
            f"env.type={settings.type} with these fields gives {len(made)} tasks, {names[:6]}; one evaluation plays "
            "one: choose it (env.task=..., env.task_ids=[...])"
        )
    vector = made[0]
    if settings.type == "libero":
        vector.envs = [libero.EpisodeOfSeed(env) for env in vector.envs]
    return vector


def check_runtime(settings: EnvironmentSettings) -> None:
    """Says what to install before any worker process is started.

    Raises:
        NotInstalledError: it is not installed.
        UserError: MuJoCo has nothing to render with.
    """
    config = settings.make_config()
    if settings.type in _MUJOCO:
        prepare_gl()
    if settings.type in _RUNTIMES:
        _RUNTIMES[settings.type](str(config.task))
        return
    registered = config.gym_id in gymnasium.registry or type(config).create_envs is not EnvConfig.create_envs
    if not registered and importlib.util.find_spec(config.package_name) is None:  # what LeRobot will import
        raise _not_installed(config, config.package_name)


def check_environment(
    settings: EnvironmentSettings, policies: Mapping[str, FlowPolicy], folders: Mapping[str, Path]
) -> None:
    """Asks whether policies can play in an environment, on this machine, before anything else takes its time.

    Args:
        settings: of the environment.
        policies: who plays, by name.
        folders: that they were loaded from, by the same names.

    Raises:
        UserError: it does not show what they look at, or does not take what they do.
        NotInstalledError: its package or runtime is not installed.
    """
    config = settings.make_config()
    for who, policy in policies.items():
        check_fit(config, policy.config, settings.rename_for(policy.config, saved_rename(folders[who])), who)
    check_runtime(settings)


def check_player(settings: EnvironmentSettings, folder: Path) -> None:
    """The same of one policy that is not loaded yet.

    Raises:
        UserError, NotInstalledError: as :func:`check_environment`.
    """
    policy = PreTrainedConfig.from_pretrained(folder)
    check_fit(settings.make_config(), policy, settings.rename_for(policy, saved_rename(folder)), "policy")
    check_runtime(settings)


def _not_installed(config: EnvConfig, package: str) -> NotInstalledError:
    extras = importlib.metadata.metadata("lerobot").get_all("Provides-Extra") or ()
    command = f"pip install 'lerobot[{config.type}]'" if config.type in extras else f"pip install {package}"
    return NotInstalledError(
        f"env.type={config.type} needs the package {package}, which is not installed: {command}"
    )
