"""Distances: what each makes of an error, and how it pulls."""

import pytest
import torch

from reflow.flow import SQUARED, InverseWeighted, PseudoHuber

ERROR = torch.tensor([0.0, 1e-4, 0.01, 1.0, 100.0], dtype=torch.float64)


def test_squared_is_the_error_itself() -> None:
    assert torch.equal(SQUARED(ERROR), ERROR)


def test_pseudo_huber_is_half_of_the_square_near_and_the_root_far() -> None:
    c = 0.1
    loss = PseudoHuber(c)(ERROR)
    torch.testing.assert_close(loss, (ERROR + c * c).sqrt() - c, rtol=1e-12, atol=0)
    # sqrt(e + c^2) - c is e / (2 c) less at most e^2 / (8 c^3), and sqrt(e) - c plus at most c^2 / (2 sqrt(e)).
    assert abs(loss[1] - ERROR[1] / (2 * c)) <= ERROR[1] ** 2 / (8 * c**3)
    assert 0 <= loss[4] - (10.0 - c) <= c**2 / 20


def test_every_chunk_pulls_alike_where_it_weighs_by_its_inverse() -> None:
    error = ERROR[2:].clone().requires_grad_()
    InverseWeighted(p=1.0, c=1e-9)(error).sum().backward()
    torch.testing.assert_close(
        error.grad * error.detach(), torch.ones(3, dtype=torch.float64), rtol=1e-6, atol=0
    )
    plain = ERROR[2:].clone().requires_grad_()
    InverseWeighted(p=0.0)(plain).sum().backward()
    assert torch.equal(plain.grad, torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PseudoHuber(0.0), r"c is 0\.0; allowed: finite and above 0"),
        (lambda: InverseWeighted(p=2.0), r"p is 2\.0; allowed: 0 to 1"),
        (lambda: InverseWeighted(c=-1.0), r"c is -1\.0; allowed: finite and above 0"),
    ],
)
def test_impossible_numbers_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
