"""Where the two policies of an evaluation are, and where its results go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reflow.demo import embedded
from reflow.hub import commit_of
from reflow.policies import find_folder, locate

_STUDENT = "pretrained_model"
Who = Literal["teacher", "student"]
WHO: tuple[Who, Who] = ("teacher", "student")


@dataclass(frozen=True)
class Folders:
    """The folders of one evaluation.

    Attributes:
        teacher: a complete policy folder.
        student: likewise.
        output: for the results.
        name: what to call the student: its run, where it lies in one.
        run: the folder it lies in, where that may be a run's; None for a policy folder of another name.
    """

    teacher: Path
    student: Path
    output: Path
    name: str
    run: Path | None = None

    @classmethod
    def find(cls, student: str, teacher: str | None = None, output: str | None = None) -> Folders:
        """Finds the policies.

        Args:
            student: a run folder, a ``pretrained_model`` folder, a hub id (``owner/name@revision``), or
                ``embedded/NAME``.
            teacher: a ``pretrained_model`` folder or a hub id; None for the embedded one.
            output: None for ``evaluation`` in the student's run folder, or for ``outputs/evaluation-<name>`` where it
                has none.

        Raises:
            MissingFileError: a policy is not there, or not whole.
        """
        found = find_folder(embedded.policy_path(student), "student.path")
        # What was found may be a mended copy, elsewhere and of another name.
        given = locate(embedded.policy_path(student), "student.path").resolve()
        results = Path("outputs", f"evaluation-{Path(student).name}")
        if given.name == _STUDENT:
            results = given.parent / "evaluation"
        if output is not None:
            results = Path(output).expanduser()
        name = given.parent.name if given.name == _STUDENT else given.name
        name = student if commit_of(given) else name
        run = given.parent if given.name == _STUDENT else None
        return cls(find_folder(embedded.policy_path(teacher)), found, results.resolve(), name, run)

    @property
    def policies(self) -> dict[Who, Path]:
        """The two policy folders."""
        return {"teacher": self.teacher, "student": self.student}
