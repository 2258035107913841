"""Schemas of the configurations, checked before anything is loaded; entry points bring what is theirs alone."""

from reflow.settings.checks import EXTENTS, MATMUL_PRECISIONS, check_own_data, check_schema
from reflow.settings.naming import AUTO, padding_name, run_directory
from reflow.settings.pairs import PairSettings, check_pair_settings
from reflow.settings.sections import (
    DataSettings,
    ObjectiveSettings,
    PaddingSettings,
    SolverSettings,
    TeacherSettings,
)
from reflow.settings.train import TrainSettings, check_settings

__all__ = [
    "AUTO",
    "EXTENTS",
    "MATMUL_PRECISIONS",
    "DataSettings",
    "ObjectiveSettings",
    "PaddingSettings",
    "PairSettings",
    "SolverSettings",
    "TeacherSettings",
    "TrainSettings",
    "check_own_data",
    "check_pair_settings",
    "check_schema",
    "check_settings",
    "padding_name",
    "run_directory",
]
