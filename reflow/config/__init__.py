"""Schemas of the configurations, checked before anything is loaded; entry points bring what is theirs alone."""

from reflow.config.checks import EXTENTS, MATMUL_PRECISIONS, check_own_data, check_schema
from reflow.config.naming import AUTO, padding_name, run_directory
from reflow.config.pairs import PairSettings, check_pair_settings
from reflow.config.sections import (
    DataSettings,
    PaddingSettings,
    SolverSettings,
    TeacherSettings,
)
from reflow.config.train import TrainSettings, check_settings

__all__ = [
    "AUTO",
    "EXTENTS",
    "MATMUL_PRECISIONS",
    "DataSettings",
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
