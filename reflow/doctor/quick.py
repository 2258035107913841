"""The checks that cost nothing, for a command that is about to spend time: what the doctor would complain of at once.

From statistics and metadata alone: other data's statistics, joints that never move, values far out, another frame
rate. Left out: everything that asks the teacher (:mod:`reflow.doctor.examine`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata

from reflow.data.robot import dimension_names
from reflow.doctor.finding import Diagnosis, Finding
from reflow.doctor.fit import fit_check
from reflow.doctor.normalisation import normalisation_check
from reflow.policies import FlowPolicy, saved_statistics


def quick_complaints(
    folder: Path, meta: LeRobotDatasetMetadata, teacher: FlowPolicy, rename: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Warnings and errors of a teacher and a data set, without a single forward pass.

    Args:
        folder: the teacher's.
        meta: of the data set.
        teacher: loaded.
        rename: from the data set's camera keys to the policy's.
    """
    names = dimension_names(meta, teacher.config)
    checks = (
        fit_check(meta, teacher.config, teacher.space, rename, folder),
        normalisation_check(saved_statistics(folder), meta.stats, names, None),
    )
    return Diagnosis(checks).complaints


def in_one_line(finding: Finding) -> str:
    """A finding as a command says it that only passes by."""
    parts = (finding.what, finding.how_bad, f"To mend it: {finding.what_to_do}" if finding.what_to_do else "")
    return " ".join(part for part in parts if part)
