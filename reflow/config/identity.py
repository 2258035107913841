"""What the data of a run hold: part of its identity, beside the teacher's fingerprint."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from reflow.config.parts import Teacher, data_arguments
from reflow.config.run_folder import DATA_CONTENT
from reflow.data import content_of, open_sources, sources_of
from reflow.errors import MissingFileError


def data_identity(config: DictConfig, teacher: Teacher) -> dict[str, Any]:
    """The fingerprint of the data sets' content by its key in ``run.json``; None where the data are not here.

    Args:
        config: of the run.
        teacher: decides on the data where none are named.
    """
    sources = sources_of(data_arguments(config, teacher))
    try:
        return {DATA_CONTENT: content_of(open_sources(sources))}
    except MissingFileError:  # a finished run needs them no more, and any other run says what is missing
        return {DATA_CONTENT: None}
