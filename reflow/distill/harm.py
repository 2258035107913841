"""Padding rules that the ablation shows to be harmful, each with its figure; and the founding script's own.

The figures are those of ``+experiment=padding_ablation`` (:mod:`reflow.reports.ablation`): the embedded teacher,
whose padding was never supervised, uniform times, three seeds. Left out: what a given teacher calls for
(:mod:`reflow.doctor.regime`).
"""

from __future__ import annotations

import torch

from reflow.flow import PaddingRule, TimeSampler
from reflow.reports.ablation import NEVER, ablation, healthy_ranges

UNFIXED = (
    "No fix is on: this reproduces the founding script. It cuts the teacher's endpoint to the real dimensions and "
    "zero-fills it (problem 1), gives padding velocity no training signal (problem 2), and starts teacher and "
    "student from noise that inference never draws (problem 3). Use +fix=full32 unless that is what you study, "
    "and time=uniform if it is: at t=1 alone problem 1 cannot be seen."
)
LEAK = (
    "Target full and noise real: without noise on it, the padding of x_t is a clean copy of the endpoint's padding, "
    "which tells the student the answer in training and nothing in deployment. In the ablation the deploy gap is "
    "{gap} and the endpoint error@10 {error} (healthy: {gaps} and {errors}), on a teacher whose padding was "
    "never supervised. Add full_noise: +fix=[keep_target,full_noise] or +fix=full32"
)
EMPTIED = (
    "Noise and loss full, target real: the student is taught to empty a padding that the teacher leaves full, and "
    "meets x_t that the teacher never makes. In the ablation the deploy gap is {gap} and the endpoint error@10 "
    "{error} (healthy: {gaps} and {errors}), on a teacher whose padding was never supervised. Add keep_target: "
    "+fix=full32"
)
_HARMFUL = {  # (noise, target, loss): text, fix
    ("real", "full", "real"): (LEAK, "keep_target"),
    ("real", "full", "full"): (LEAK, "[keep_target,full_loss]"),
    ("full", "real", "full"): (EMPTIED, "[full_noise,full_loss]"),
}


def harm_of(rule: PaddingRule, time: TimeSampler) -> str | None:
    """What is known against a padding rule, where padding is free to be anything.

    Args:
        rule: of the run.
        time: its time sampler; at t = 1 alone the endpoint's padding is never part of an input, and does no harm.

    Returns:
        A warning with its figure, or None.
    """
    answers = (rule.noise_dims, rule.target_dims, rule.loss_dims)
    if rule.inert or rule.space.padding_dim == 0:
        return None
    if answers == ("real", "real", "real"):
        return UNFIXED
    if answers not in _HARMFUL or not (time(torch.tensor([0.25, 0.5, 0.75])) < 1).any():
        return None
    text, fix = _HARMFUL[answers]
    row = ablation()[NEVER, fix]
    gaps, errors = healthy_ranges([fix for _, fix in _HARMFUL.values()])
    return text.format(
        gap=f"{row.deploy_gap[0]:.0f}", error=f"{row.endpoint_error_10:.0f} %", gaps=gaps, errors=errors
    )
