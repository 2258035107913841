"""Any LeRobot environment, made by LeRobot's own factory, and whether a policy can play in it.

Left out: playing (``reflow.simulator.rollout``), and when cameras are rendered (``reflow.simulator.looking``).
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lerobot.configs import PreTrainedConfig
from lerobot.envs.configs import EnvConfig, HubEnvConfig
from lerobot.envs.factory import make_env_config
from lerobot.envs.utils import env_to_policy_features
from lerobot.utils.constants import ACTION, OBS_IMAGE, OBS_STATE

from reflow.errors import NotInstalledError, UserError
from reflow.simulator import libero, robotwin
from reflow.simulator.delay import Idle
from reflow.trust import MODULES, package_of, way_out

_CAMERA_MAPS = {"libero": libero.camera_map, "robotwin": robotwin.camera_map}
_OURS = ("type", "rename", "instruction", "discover_packages_path", "idle")


@dataclass(frozen=True)
class EnvironmentSettings:
    """Which environment, and how a policy is brought together with it.

    Attributes:
        type: a name in LeRobot's registry: aloha, pusht, robotwin, ...
        fields: fields of that environment's ``EnvConfig`` (task, episode_length, ...); its defaults for the others.
        rename: from the environment's observation keys to the policy's; None or empty leaves it to what is saved with
            the policy, and to the known names of RoboTwin's and LIBERO's cameras.
        instruction: the sentence that the policy is given; None for the environment's own, as LeRobot does.
        discover_packages_path: a module that registers further environments when it is imported, as
            ``lerobot-eval --env.discover_packages_path``.
        idle: how the robot stands still while it waits for a policy (``reflow.simulator.delay``): ``hold``, or a
            number or ``hold`` for each action dimension; None where nobody has said it, and nobody waits.
    """

    type: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    rename: Mapping[str, str] | None = None
    instruction: str | None = None
    discover_packages_path: str | None = None
    idle: Idle | None = None

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> EnvironmentSettings:
        """From the flat keys of ``conf/env/*.yaml``: ours by name, all others are fields of the ``EnvConfig``."""
        if not given.get("type"):
            raise UserError(f"env.type is missing; choose one of {_known()} (env=NAME or env.type=NAME)")
        ours = {name: given[name] for name in _OURS if given.get(name) is not None}
        return cls(**ours, fields={key: value for key, value in given.items() if key not in _OURS})

    def make_config(self) -> EnvConfig:
        """LeRobot's configuration of this environment.

        Raises:
            UserError: no such environment, or no such field; or a module that a configuration may not name.
        """
        if self.discover_packages_path is not None:
            if package_of(self.discover_packages_path, MODULES) is None:
                raise UserError(
                    f"env.discover_packages_path={self.discover_packages_path} is not imported; "
                    f"{way_out(self.discover_packages_path)}"
                )
            try:
                importlib.import_module(self.discover_packages_path)
            except ModuleNotFoundError as error:
                raise NotInstalledError(
                    f"env.discover_packages_path={self.discover_packages_path} cannot be imported ({error}); install "
                    "the package that registers the environment, or put it on PYTHONPATH"
                ) from error
        if self.type not in EnvConfig.get_known_choices():
            raise UserError(
                f"env.type={self.type} is not in LeRobot's registry; allowed: {_known()}. An environment of another "
                "package: env.discover_packages_path=PACKAGE"
            )
        kind: Any = EnvConfig.get_choice_class(self.type)
        if issubclass(kind, HubEnvConfig):
            raise UserError(
                f"env.type={self.type} is code that LeRobot would fetch from the Hugging Face hub and run, which is "
                "never done here; install the environment as a package: env.discover_packages_path=PACKAGE"
            )
        allowed = [entry.name for entry in dataclasses.fields(kind) if entry.init]
        unknown = sorted(set(self.fields) - set(allowed))
        if unknown:
            raise UserError(
                f"env.{unknown[0]} is no field of env.type={self.type}; allowed: {sorted(allowed)}"
            )
        return make_env_config(self.type, **self.fields)

    def rename_for(self, policy: PreTrainedConfig, saved: Mapping[str, str]) -> dict[str, str]:
        """From the environment's keys to this policy's.

        Args:
            policy: LeRobot's configuration of the policy.
            saved: the map in the policy's own preprocessor.
        """
        if self.rename:
            return dict(self.rename)
        if not saved and self.type in _CAMERA_MAPS:
            return _CAMERA_MAPS[self.type](cameras_of(policy))
        return dict(saved)

    def identity(self) -> dict[str, Any]:
        """What makes episodes of one environment comparable; JSON-able."""
        config = self.make_config()
        values = {
            entry.name: getattr(config, entry.name)
            for entry in dataclasses.fields(config)
            if entry.name not in ("features", "features_map")
        }
        return {"type": self.type, "instruction": self.instruction, "rename": self.rename, **values}


def cameras_of(policy: PreTrainedConfig) -> list[str]:
    """The cameras a policy looks at, without those it keeps empty."""
    return [key for key in policy.image_features if ".empty_camera_" not in key]


def check_fit(config: EnvConfig, policy: PreTrainedConfig, rename: Mapping[str, str], who: str) -> None:
    """Compares what an environment says it shows and takes with what a policy was trained on.

    Args:
        config: of the environment.
        policy: LeRobot's configuration of the policy.
        rename: from the environment's keys to the policy's.
        who: the policy's name in messages.

    Raises:
        UserError: cameras are missing, or the state's or the action's width differs.
    """
    shown = env_to_policy_features(config)
    unknown = sorted(set(rename) - set(shown))
    if unknown and config.features:
        raise UserError(f"env.rename names {unknown}, environment {config.type} has {sorted(shown)}")
    renamed = [rename.get(key, key) for key in shown]
    twice = sorted({key for key in renamed if renamed.count(key) > 1})
    if twice:
        raise UserError(
            f"env.rename gives {twice} to more than one of {sorted(shown)}; one would silently hide the other"
        )
    have = {rename.get(key, key): feature for key, feature in shown.items()}
    cameras = [key for key in have if key.startswith(OBS_IMAGE)]
    missing = [key for key in cameras_of(policy) if key not in cameras]
    if missing:
        raise UserError(_no_camera(config.type, who, policy, missing, rename, cameras))
    # A processor of the environment may put the state together from parts: then the first look tells.
    composed = bool(config.get_env_processors()[0].steps)
    for key, feature, what in (
        (OBS_STATE, policy.robot_state_feature, "state"),
        (ACTION, policy.action_feature, "action"),
    ):
        there = have.get(key)
        if feature is None or (there is None and composed):
            continue
        if there is None or there.shape[0] != feature.shape[0]:
            width = "none" if there is None else f"{there.shape[0]} dimensions"
            raise UserError(_no_width(config.type, who, what, f"{feature.shape[0]} dimensions", width))


def check_look(
    settings: EnvironmentSettings, batch: Mapping[str, Any], policy: PreTrainedConfig, who: str
) -> None:
    """The same of a real observation, as the policy's preprocessor leaves it.

    Raises:
        UserError: a camera is missing, or the state's width differs.
    """
    missing = [key for key in cameras_of(policy) if key not in batch]
    if missing:
        there = [key for key in batch if key.startswith(OBS_IMAGE)]
        raise UserError(_no_camera(settings.type, who, policy, missing, settings.rename or {}, there))
    feature = policy.robot_state_feature
    if feature is not None and (OBS_STATE not in batch or batch[OBS_STATE].shape[-1] != feature.shape[0]):
        width = f"{batch[OBS_STATE].shape[-1]} dimensions" if OBS_STATE in batch else "none"
        raise UserError(_no_width(settings.type, who, "state", f"{feature.shape[0]} dimensions", width))


def _no_camera(
    kind: str,
    who: str,
    policy: PreTrainedConfig,
    missing: list[str],
    rename: Mapping[str, str],
    there: list[str],
) -> str:
    backwards = {new: old for old, new in rename.items()}
    spare = [backwards.get(key, key) for key in there if key not in cameras_of(policy)] or ["<camera>"]
    renames = {**rename, **dict(zip(spare, missing, strict=False))}
    pairs = ",".join(f"{old}:{new}" for old, new in renames.items())
    return (
        f"cameras do not fit: the {who} sees {cameras_of(policy)}, environment {kind} shows {sorted(there)}; "
        f"missing {missing}. If only the names differ: 'env.rename={{{pairs}}}'"
    )


def _no_width(kind: str, who: str, what: str, wanted: str, there: str) -> str:
    return (
        f"{what} does not fit: the {who} has {wanted}, environment {kind} has {there}; choose the environment this "
        "policy was trained for (env=NAME, env.task=..., env.obs_type=...)"
    )


def _known() -> list[str]:
    return sorted(EnvConfig.get_known_choices())
