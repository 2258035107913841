"""Motion: how smoothly, how far and how decidedly a robot was told to move, from the actions that were executed.

In physical units (whatever the data set's joints are in) and at real width, after normalisation was undone.

Left out: what the robot made of it; these are commands. And distances to a teacher: run both, and compare.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from reflow.errors import UserError
from reflow.flow.padding import ActionSpace
from reflow.metrics.sums import ChunkMetric

# Third differences need four actions.
_SHORTEST = 4


def jerk(actions: Float[Tensor, "*sequences T a"], fps: float | int) -> Float64[Tensor, "*sequences T-3 a"]:
    """Compute the third difference of position over time.

    Args:
        actions: Positions, ``[*sequences, T, a]``.
        fps: Actions per second.

    Returns:
        Units per second cubed, ``[*sequences, T - 3, a]``.
    """
    return actions.double().diff(n=3, dim=-2) * fps**3


def boundary_jumps(
    actions: Float[Tensor, "*sequences T a"], n_action_steps: int
) -> tuple[Float64[Tensor, "*sequences jumps a"], Float64[Tensor, "*sequences others a"]]:
    """Take apart the steps between chunks and those within.

    Args:
        actions: Positions, ``[*sequences, T, a]``, of which a new chunk begins every ``n_action_steps``.
        n_action_steps: How many actions of a chunk are executed.

    Returns:
        The absolute difference between the first action of a chunk and the last one executed before it; and
        between any other action and the one before.
    """
    steps = actions.double().diff(dim=-2).abs()
    is_jump = torch.arange(1, actions.shape[-2], device=actions.device) % n_action_steps == 0
    return steps[..., is_jump, :], steps[..., ~is_jump, :]


def gripper_flips(opening: Float[Tensor, "*sequences T"], closed_below: float, band: float) -> Tensor:
    """Count how often a gripper changes its mind.

    It is closed below ``closed_below - band``, open above ``closed_below + band``, and in between what it was.
    What it is at first is no flip.

    Args:
        opening: 0 closed to 1 open, ``[*sequences, T]``.
        closed_below: Middle of the band.
        band: Half its width.

    Returns:
        Number of changes, ``[*sequences]``.
    """
    state = (opening > closed_below + band).long() - (opening < closed_below - band).long()
    # Where neither, the last place where either was; place 0 stays undecided until then.
    places = torch.arange(opening.shape[-1], device=opening.device)
    held = state.gather(-1, torch.where(state != 0, places, 0).cummax(dim=-1).values)
    return (held[..., 1:] * held[..., :-1] == -1).sum(dim=-1)


class MotionStatistics(ChunkMetric):
    """Jerk, jumps at chunk boundaries, violations of limits and gripper flips, over sequences of actions.

    Sequences (one episode each) may differ in length from update to update. Nothing is weighted: a joint in
    radians and a gripper from 0 to 1 count alike in a total, so look at the joints.

    Args:
        fps: Actions per second, above 0.
        n_action_steps: How many actions of a chunk are executed before the next, at least 1.
        lower: Lowest position of each joint, ``[a]``, in the unit of the actions; None if unknown.
        upper: Highest position, ``[a]``; None if and only if ``lower`` is.
        grippers: Joints that are grippers, 0 to ``a - 1``; they open upwards, and need limits.
        action_dim: Real width ``a``; None takes it from the limits.
        tolerance: How far beyond a limit is no violation yet, as a share of the joint's range, 0 or more.
        closed_below: Where between its limits (0 lower, 1 upper) a gripper turns from closed to open.
        band: How far beyond that it must go for a flip to count, as a share of its range, 0 or more.
        **kwargs: For `torchmetrics.Metric`.

    Raises:
        UserError: If an argument is out of range.

    Example:
        >>> motion = MotionStatistics(fps=10, n_action_steps=3, action_dim=1)
        >>> motion.update(torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]).reshape(6, 1))
        >>> result = motion.compute()
        >>> result["boundary_jump_mean"].item(), result["step_mean"].item()
        (1.0, 0.0)
    """

    higher_is_better = False

    sums: Tensor
    counts: Tensor
    jump_max: Tensor

    def __init__(
        self,
        fps: float | int,
        n_action_steps: int,
        lower: Sequence[float] | Tensor | None = None,
        upper: Sequence[float] | Tensor | None = None,
        grippers: Sequence[int] = (),
        action_dim: int | None = None,
        tolerance: float = 0.01,
        closed_below: float = 0.5,
        band: float = 0.1,
        **kwargs: Any,
    ) -> None:
        if action_dim is None:
            if lower is None:
                raise UserError(
                    "action_dim is None and lower too; give either: the number of joints is needed"
                )
            action_dim = len(lower)
        # An action space without padding: what is executed has none.
        super().__init__(ActionSpace(action_dim, action_dim, n_action_steps), **kwargs)
        if not fps > 0:
            raise UserError(f"fps is {fps}; allowed: above 0; take it from the data set or the environment")
        for name, value in (("tolerance", tolerance), ("band", band)):
            if not value >= 0:
                raise UserError(f"{name} is {value}; allowed: 0 or more; it is a share of a joint's range")
        if not 0 < closed_below < 1:
            raise UserError(
                f"closed_below is {closed_below}; allowed: above 0 and below 1; 0.5 is the middle"
            )
        self.limits = _limits(lower, upper, action_dim)
        if wrong := [joint for joint in grippers if not 0 <= joint < action_dim]:
            raise UserError(
                f"grippers has {wrong}; allowed: joints 0 to {action_dim - 1}; count joints from 0"
            )
        if grippers and self.limits is None:
            raise UserError(
                f"grippers is {list(grippers)} but there are no limits; give lower and upper: what is half open "
                "depends on them"
            )
        self.fps, self.n_action_steps = fps, n_action_steps
        self.tolerance, self.closed_below, self.band = tolerance, closed_below, band
        self.grippers = tuple(grippers)
        self.figures = ["jerk", "boundary_jump_mean", "step_mean"]
        self.figures += ["limit_violations"] if self.limits is not None else []
        self.figures += ["gripper_flips"] if self.grippers else []
        # A column for each joint, and one for the total.
        self._add_state("sums", len(self.figures), action_dim + 1)
        self._add_state("counts", len(self.figures), dtype=torch.int64)
        self._add_state("jump_max", action_dim, reduce="max")

    def update(self, actions: Float[Tensor, "*sequences T a"]) -> None:
        """Add sequences.

        Args:
            actions: What was executed, ``[*sequences, T, a]``, from the beginning of a chunk on. A sequence of at
                most ``n_action_steps`` has no boundary and adds nothing to the jumps.

        Raises:
            UserError: If it is not at real width, or shorter than 4 steps.
        """
        width = self.space.action_dim
        if actions.ndim < 2 or actions.shape[-1] != width:
            raise UserError(
                f"actions has shape {tuple(actions.shape)}; allowed: [..., T, {width}]; give whole sequences at "
                "real width, in physical units"
            )
        if actions.shape[-2] < _SHORTEST:
            raise UserError(
                f"actions has {actions.shape[-2]} steps; allowed: {_SHORTEST} or more: jerk is a third difference; "
                "leave shorter episodes out"
            )
        sequences = actions.double().reshape(-1, *actions.shape[-2:])
        jumps, others = boundary_jumps(sequences, self.n_action_steps)
        self._add("jerk", jerk(sequences, self.fps).square())
        self._add("boundary_jump_mean", jumps)
        self._add("step_mean", others)
        if jumps.numel():
            self.jump_max = torch.maximum(self.jump_max, jumps.flatten(0, 1).amax(dim=0))
        if self.limits is None:
            return
        lower, upper = self.limits.to(sequences.device)
        beyond = torch.maximum(lower - sequences, sequences - upper) > self.tolerance * (upper - lower)
        self._add("limit_violations", beyond.double(), total=beyond.any(dim=-1).double())
        if self.grippers:
            # One "step" per sequence; nan for joints that are no grippers.
            flips = torch.full_like(sequences[:, :1], torch.nan)
            for joint in self.grippers:
                span = upper[joint] - lower[joint]
                # One that has no range (it never moved in the recordings) is neither open nor closed.
                opening = ((sequences[..., joint] - lower[joint]) / span).where(span > 0, torch.nan)
                flips[:, 0, joint] = gripper_flips(opening, self.closed_below, self.band).double()
            self._add("gripper_flips", flips, total=flips.nansum(dim=-1))

    def _add(self, figure: str, values: Tensor, total: Tensor | None = None) -> None:
        row = self.figures.index(figure)
        joints = values.sum(dim=(0, 1))
        everything = values.mean(dim=-1).sum() if total is None else total.sum()
        self.sums[row] += torch.cat([joints, everything[None]])
        self.counts[row] += values.shape[0] * values.shape[1]

    def compute(self) -> dict[str, Float64[Tensor, "..."]]:
        """Return each figure as a total, and under ``<figure>/joint`` for each joint, ``[a]``.

        Returns:
            ``jerk`` (root mean square, units per second cubed; the total over joints too),
            ``boundary_jump_mean`` and ``step_mean`` (what a step between chunks and one within is; the total is
            the mean over joints), ``boundary_jump_max`` (the total is the largest of all joints); with limits,
            ``limit_violations`` (share of steps; the total is the share with any joint beyond its limits); with
            grippers, ``gripper_flips`` (per sequence; the total is their sum, other joints are nan). nan where
            nothing was added.
        """
        means = self.sums / self.counts[:, None]
        result: dict[str, Tensor] = {}
        for figure, mean in zip(self.figures, means, strict=True):
            value = mean.sqrt() if figure == "jerk" else mean
            result |= {figure: value[-1], f"{figure}/joint": value[:-1]}
            if figure == "boundary_jump_mean":
                seen = self.counts[self.figures.index(figure)] > 0
                largest = self.jump_max.where(seen, torch.nan)
                result |= {"boundary_jump_max": largest.max(), "boundary_jump_max/joint": largest}
        return result


def _limits(
    lower: Sequence[float] | Tensor | None, upper: Sequence[float] | Tensor | None, width: int
) -> Float64[Tensor, "2 a"] | None:
    if lower is None and upper is None:
        return None
    if lower is None or upper is None:
        raise UserError(
            f"lower is {lower}, upper is {upper}; allowed: both or neither; give the other one too"
        )
    low, high = (torch.as_tensor(x, dtype=torch.float64).cpu() for x in (lower, upper))
    for name, limit in (("lower", low), ("upper", high)):
        if limit.shape != (width,):
            raise UserError(f"{name} has shape {tuple(limit.shape)}; allowed: ({width},); give one per joint")
    if not (low.isfinite() & high.isfinite() & (low <= high)).all():
        raise UserError(
            f"lower is {low.tolist()}, upper {high.tolist()}; allowed: finite, and lower not above upper for any "
            "joint; give a joint without limits wide ones"
        )
    return torch.stack([low, high])
