"""What the table of memory counts is what a student in training holds."""

import pytest

from reflow.distill.student import make_student
from reflow.doctor.footprint import Footprint, footprint, footprint_table, millions, smallest_card
from reflow.flow import PaddingRule
from reflow.policies import load_policy


@pytest.mark.parametrize("trained", [("velocity",), ("velocity", "state_proj"), ("velocity", "language")])
@pytest.mark.parametrize("rank", [None, 2])
def test_it_counts_what_is_trained(teacher_folder, trained, rank):
    teacher = load_policy(teacher_folder).requires_grad_(False)
    counted = footprint(teacher, trained, rank)
    assert counted.total == sum(parameter.numel() for parameter in teacher.parameters())
    student = make_student(teacher, teacher_folder, PaddingRule(teacher.space), trained=trained, lora=rank)
    opened = sum(parameter.numel() for parameter in student.parameters() if parameter.requires_grad)
    assert opened == (counted.trained if rank is None else counted.low_rank)


def test_bytes_of_each_way():
    of = Footprint({"velocity": 100, "language": 300}, trained=100, low_rank=10)
    assert of.bytes() == {
        "teacher": 1600,
        "teacher_bfloat16": 800,
        "teacher_and_student": 2000,
        "training": 3600,
        "training_low_rank": 1800,
        "training_cached": 2000,
        "training_cached_low_rank": 600,
    }


def test_the_table_names_the_smallest_card():
    of = Footprint({"velocity": 3_500_000_000}, trained=400_000_000, low_rank=20_000_000)
    rows = {row[0]: row[1:] for row in footprint_table(of).rows}
    assert rows["teacher alone"] == ("14 GB", "24 GB")
    assert rows["teacher alone, in bfloat16"] == ("7 GB", "24 GB")
    assert rows["training, teacher live"] == ("22 GB", "24 GB")
    assert smallest_card(24e9) == "48 GB"
    assert smallest_card(81e9) == "none of these"
    assert (millions(3.5e9), millions(4.5e8)) == ("3.5 B", "450 M")
