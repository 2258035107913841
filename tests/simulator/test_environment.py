"""Environments by LeRobot's names, and policies that do not fit them."""

import importlib.util

import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.factory import make_env_config
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from omegaconf import OmegaConf

from reflow.config_path import CONFIG_DIR
from reflow.errors import NotInstalledError
from reflow.policies import saved_rename
from reflow.simulator.environment import (
    EnvironmentSettings,
    check_fit,
    check_look,
)
from reflow.simulator.runtime import check_runtime, make_vector_env
from tests.builders import TOP, make_teacher_folder

FRONT, WRIST = "observation.images.front", "observation.images.wrist"


def policy(cameras=(TOP,), state: int = 14, action: int = 14) -> SmolVLAConfig:
    images = {key: PolicyFeature(FeatureType.VISUAL, (3, 24, 32)) for key in cameras}
    return SmolVLAConfig(
        input_features={"observation.state": PolicyFeature(FeatureType.STATE, (state,)), **images},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (action,))},
    )


def from_yaml(name: str) -> EnvironmentSettings:
    content = OmegaConf.to_container(OmegaConf.load(f"{CONFIG_DIR}/env/{name}.yaml"))
    return EnvironmentSettings.from_mapping(content)


@pytest.mark.parametrize(
    ("name", "task", "episode_length"),
    [
        ("pick", "Pick-v0", 150),
        ("aloha", "AlohaTransferCube-v0", 400),
        ("pusht", "PushT-v0", 300),
        ("robotwin", "beat_block_hammer", 1200),
        ("metaworld", "drawer-open-v3", 500),
        ("libero", "libero_10", None),
    ],
)
def test_every_file_of_the_group_is_an_environment(name, task, episode_length):
    config = from_yaml(name).make_config()
    assert (config.type, config.task, config.episode_length) == (name, task, episode_length)


@pytest.mark.parametrize("name", ["pick", "pusht", "robotwin"])
def test_the_files_say_what_lerobot_has_as_default(name):
    written, default = from_yaml(name).identity(), EnvironmentSettings(name).identity()
    assert {key: tuple(v) if isinstance(v, list) else v for key, v in written.items()} == default


def test_fields_reach_lerobots_configuration():
    settings = EnvironmentSettings.from_mapping(
        {"type": "aloha", "task": "AlohaInsertion-v0", "episode_length": 7}
    )
    assert (settings.make_config().task, settings.make_config().episode_length) == ("AlohaInsertion-v0", 7)
    assert settings.identity()["episode_length"] == 7


def test_rejects_what_lerobot_does_not_have():
    with pytest.raises(
        ValueError, match=r"env.type=alohaa is not in LeRobot's registry; allowed: .*'aloha'.*'pick'"
    ):
        EnvironmentSettings("alohaa").make_config()
    with pytest.raises(
        ValueError, match=r"env.lenght is no field of env.type=aloha; allowed: .*'episode_length'"
    ):
        EnvironmentSettings("aloha", {"lenght": 3}).make_config()
    with pytest.raises(ValueError, match=r"env\.type is missing; choose one of"):
        EnvironmentSettings.from_mapping({"task": "x"})


def test_a_policy_that_fits_fits():
    check_fit(make_env_config("aloha"), policy(), {}, "student")
    check_fit(make_env_config("aloha"), policy([FRONT]), {TOP: FRONT}, "student")
    check_fit(make_env_config("aloha"), policy([TOP, "observation.images.empty_camera_0"]), {}, "student")


@pytest.mark.parametrize(
    ("given", "rename", "message"),
    [
        (
            policy([FRONT]),
            {},
            r"cameras do not fit: the student sees \['observation.images.front'\], environment aloha shows "
            r"\['observation.images.top'\]; missing \['observation.images.front'\]. If only the names differ: "
            r"'env.rename={observation.images.top:observation.images.front}'",
        ),
        (
            policy([TOP, WRIST]),
            {},
            r"missing \['observation.images.wrist'\].*<camera>:observation.images.wrist",
        ),
        (policy(), {TOP: FRONT}, r"missing \['observation.images.top'\]"),
        (policy(), {FRONT: TOP}, r"env.rename names \['observation.images.front'\], environment aloha has"),
        (policy([FRONT]), {TOP: FRONT, "observation.state": FRONT}, "to more than one of"),
        (policy(state=13), {}, "state does not fit: the student has 13 dimensions, environment aloha has 14"),
        (policy(action=7), {}, "action does not fit: the student has 7 dimensions, environment aloha has 14"),
    ],
)
def test_a_policy_that_does_not_fit_is_told_both_sides(given, rename, message):
    with pytest.raises(ValueError, match=message):
        check_fit(make_env_config("aloha"), given, rename, "student")


def test_an_environment_without_the_state_is_told():
    with pytest.raises(
        ValueError, match="state does not fit: the student has 14 dimensions, environment aloha has none"
    ):
        check_fit(
            make_env_config("aloha", obs_type="pixels"), policy(["observation.image.top"]), {}, "student"
        )


def test_the_first_look_is_asked_again(as_users_run):
    settings = EnvironmentSettings("aloha")
    batch = {TOP: torch.zeros(1, 3, 4, 4), "observation.state": torch.zeros(1, 14)}
    check_look(settings, batch, policy(), "student")
    with pytest.raises(ValueError, match=r"missing \['observation.images.front'\]"):
        check_look(settings, batch, policy([FRONT]), "student")
    with pytest.raises(ValueError, match="13 dimensions, environment aloha has 14 dimensions"):
        check_look(settings, batch, policy(state=13), "student")
    with pytest.raises(ValueError, match="environment aloha has none"):
        check_look(settings, {TOP: batch[TOP]}, policy(), "student")


def test_the_map_saved_with_the_policy_counts_unless_another_is_given(tmp_path):
    folder = make_teacher_folder(tmp_path / "policy")
    assert saved_rename(folder) == {}
    file = folder / "policy_preprocessor.json"
    file.write_text(file.read_text().replace('"rename_map": {}', f'"rename_map": {{"{FRONT}": "{TOP}"}}'))
    assert saved_rename(folder) == {FRONT: TOP}
    assert EnvironmentSettings("aloha").rename_for(policy(), {FRONT: TOP}) == {FRONT: TOP}
    assert EnvironmentSettings("aloha", rename={WRIST: TOP}).rename_for(policy(), {FRONT: TOP}) == {
        WRIST: TOP
    }


def test_one_evaluation_is_one_task():
    with pytest.raises(ValueError, match=r"gives 2 tasks, \['beat_block_hammer/0', 'click_bell/0'\]"):
        make_vector_env(EnvironmentSettings("robotwin", {"task": "beat_block_hammer,click_bell"}))


def test_what_is_not_installed_is_said_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLOW_TRUST", "no_such_package")
    with pytest.raises(
        NotInstalledError, match=r"env.discover_packages_path=no_such_package cannot be imported"
    ):
        EnvironmentSettings("pick", {}, discover_packages_path="no_such_package").make_config()
    if importlib.util.find_spec("gym_pusht") is None:
        message = r"env.type=pusht needs the package gym_pusht.*pip install 'lerobot\[pusht\]'"
        for ask in (check_runtime, make_vector_env):
            with pytest.raises(NotInstalledError, match=message):
                ask(EnvironmentSettings("pusht"))
