"""Teacher and data of a command, opened in the order in which bad input is refused soonest.

First the teacher's files, then the data's, then the two against each other, and only then weights and frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lerobot.utils.constants import ACTION, OBS_STATE
from omegaconf import DictConfig

from reflow.cli import build
from reflow.config.parts import Teacher, data_arguments, open_data
from reflow.data import LeRobotDataModule, OpenSource, open_sources, sources_of
from reflow.data.robot import joint_names
from reflow.doctor import in_one_line, quick_complaints
from reflow.notices import warn
from reflow.policies import FlowPolicy, check_statistics, load_processors, saved_rename, with_velocity


@dataclass(frozen=True)
class Inputs:
    """What a command works on.

    Attributes:
        source: where the teacher comes from.
        teacher: loaded, in eval mode.
        preprocess: its preprocessor, for data whose cameras have the policy's names already.
        postprocess: its postprocessor.
        data: the data sets, opened.
        saved_rename: from camera keys to the policy's, as the teacher has saved it.
        arguments: of the data module, in plain values.
    """

    source: Teacher
    teacher: FlowPolicy
    preprocess: Any
    postprocess: Any
    data: tuple[OpenSource, ...]
    saved_rename: Mapping[str, str]
    arguments: dict[str, Any]

    def open_data(self, **more: Any) -> LeRobotDataModule:
        """The data, for this teacher; ``more`` goes to the module as it is.

        Raises:
            UserError: data and teacher do not fit, or values in the data are no numbers.
        """
        return open_data(
            self.arguments, self.teacher, self.preprocess, saved_rename=self.saved_rename, **more
        )

    def warn_of_complaints(self) -> None:
        """Says what the doctor would complain of at once."""
        for data in self.data:
            for finding in quick_complaints(self.source.folder, data.meta, self.teacher, data.rename):
                warn(in_one_line(finding))


def open_inputs(
    config: DictConfig,
    source: Teacher | None = None,
    *,
    device: str = "cpu",
    velocity: str | None = "stock",
    **changes: Any,
) -> Inputs:
    """Opens teacher and data of a command.

    Args:
        config: composed, with sections ``teacher`` and ``data``.
        source: of the teacher, where it was asked for already.
        device: of the teacher.
        velocity: how it computes velocities; None for the way that suits training.
        changes: other values of the section ``data``.

    Raises:
        UserError: names the file, or the key, and the way out.
    """
    source = source or build(config.teacher)
    arguments = data_arguments(config, source, **changes)
    folder = source.folder
    saved = saved_rename(folder)
    data = open_sources(sources_of(arguments), saved)
    check_statistics(folder, _joints(data[0]))
    teacher = with_velocity(source.load(device), velocity)
    preprocess, postprocess = load_processors(folder, teacher, rename={})  # the data rename themselves
    return Inputs(source, teacher, preprocess, postprocess, data, saved, arguments)


def _joints(data: OpenSource) -> dict[str, tuple[str, ...]]:
    features = data.meta.features
    return {
        feature: joint_names(data.meta, feature, int(features[feature]["shape"][0]))
        for feature in (OBS_STATE, ACTION)
        if feature in features
    }
