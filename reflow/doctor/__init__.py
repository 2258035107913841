"""The doctor: what a teacher, its data and a student are like, before any training time is spent.

Figures come from :mod:`reflow.probes`; one check a file turns them into findings. Left out: loading,
configuration and the command line (``reflow.diagnose``).
"""

from reflow.doctor.cost import Plan
from reflow.doctor.examine import Patient, Question, examine
from reflow.doctor.finding import CANNOT_RUN, Check, Diagnosis, Finding, Table
from reflow.doctor.fit import fit_check
from reflow.doctor.quick import in_one_line, quick_complaints
from reflow.doctor.regime import NOTHING_TO_TREAT, Recommendation, Regime, padding_regime, recommend_fix
from reflow.doctor.several import of_each
from reflow.doctor.show import print_check, print_diagnosis

__all__ = [
    "CANNOT_RUN",
    "NOTHING_TO_TREAT",
    "Check",
    "Diagnosis",
    "Finding",
    "Patient",
    "Plan",
    "Question",
    "Recommendation",
    "Regime",
    "Table",
    "examine",
    "fit_check",
    "in_one_line",
    "of_each",
    "padding_regime",
    "print_check",
    "print_diagnosis",
    "quick_complaints",
    "recommend_fix",
]
