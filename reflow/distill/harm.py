"""Padding rules that the ablation shows to be harmful, each with its figure; and the founding script's own.

The figures are those of ``+experiment=padding_ablation`` (README): the embedded teacher, whose padding was never
supervised, uniform times, three seeds. Left out: what a given teacher calls for (:mod:`reflow.doctor.regime`).
"""

from __future__ import annotations

import torch

from reflow.flow import PaddingRule, TimeSampler

UNFIXED = (
    "No fix is on: this reproduces the founding script. It cuts the teacher's endpoint to the real dimensions and "
    "zero-fills it (problem 1), gives padding velocity no training signal (problem 2), and starts teacher and "
    "student from noise that inference never draws (problem 3). Use +fix=full32 unless that is what you study, "
    "and time=uniform if it is: at t=1 alone problem 1 cannot be seen."
)
LEAK = (
    "Target full and noise real: without noise on it, the padding of x_t is a clean copy of the endpoint's padding, "
    "which tells the student the answer in training and nothing in deployment. In the ablation the deploy gap is "
    "{gap} and the endpoint error@10 {error} (healthy: 0.7 to 1.0 and 9 to 10 %), on a teacher whose padding was "
    "never supervised. Add full_noise: +fix=[keep_target,full_noise] or +fix=full32"
)
EMPTIED = (
    "Noise and loss full, target real: the student is taught to empty a padding that the teacher leaves full, and "
    "meets x_t that the teacher never makes. In the ablation the deploy gap is {gap} and the endpoint error@10 "
    "{error} (healthy: 0.7 to 1.0 and 9 to 10 %), on a teacher whose padding was never supervised. Add keep_target: "
    "+fix=full32"
)
# (noise, target, loss): text, deploy gap, endpoint error@10
_HARMFUL = {
    ("real", "full", "real"): (LEAK, "21", "21 %"),
    ("real", "full", "full"): (LEAK, "23", "22 %"),
    ("full", "real", "full"): (EMPTIED, "10", "22 %"),
}


def harm_of(rule: PaddingRule, time: TimeSampler) -> str | None:
    """What is known against a padding rule.

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
    text, gap, error = _HARMFUL[answers]
    return text.format(gap=gap, error=error)
