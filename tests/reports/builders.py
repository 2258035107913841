"""A report with everything in it: the figures of a real short run, and made-up arrays of the right shapes."""

from pathlib import Path

import numpy as np

from reflow.reports import Content, Latency, SuccessRow, Verdict

JOINTS = tuple(
    f"{side}_{joint}"
    for side in ("left", "right")
    for joint in ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
)
REAL, NATIVE, BINS, CHUNK = 14, 32, 10, 16
ENDPOINT = {
    "student": {1: 0.0832, 2: 0.3217, 4: 0.4220, 10: 0.4624},
    "teacher": {1: 0.1889, 2: 0.1146, 4: 0.0648, 10: 0.0},
}


def make_metrics() -> dict[str, float]:
    """Flat figures, as a run and an evaluation name them."""
    metrics = {
        "deploy/loss": 0.01007,
        "deploy/gap": 1.012,
        "deploy/gap_reported": 1.756,
        "train/loss": 0.005733,
        "train/loss_real": 0.009948,
        "velocity/relative_error": 0.05396,
        "teacher/solver_error": 0.04069,
        "straightness/all": 0.1007,
        "straightness/real": 0.0974,
        "straightness/padding": 0.1116,
        "padding/teacher/endpoint_abs_mean": 0.921,
        "padding/teacher/sensitivity": 0.0054,
        "padding/student/sensitivity": 0.0183,
        "throughput/pairs_per_second": 94.1,
    }
    for who, errors in ENDPOINT.items():
        for n, error in errors.items():
            metrics[f"{who}/endpoint_error@{n}"] = error
            metrics[f"{who}/endpoint_error_to_reference@{n}"] = float(np.hypot(error, 0.04))
    for name, ms, rates in (
        ("teacher@10", 79.0, {"0ms": 0.92, "measured": 0.81, "100ms": 0.78, "1000ms": 0.2}),
        ("student@1", 22.0, {"0ms": 0.88, "measured": 0.87, "100ms": 0.77, "1000ms": 0.21}),
    ):
        metrics[f"reaction/{name}/latency"] = ms
        for latency, rate in rates.items():
            for actions, less in ((10, 0.0), (50, 0.1)):
                figure = f"reaction/{name}/{latency}/n{actions}"
                metrics |= {figure: rate - less, f"{figure}/low": rate - less - 0.03}
                metrics |= {f"{figure}/high": rate - less + 0.03, f"{figure}/jump": 0.4 - less}
    random = np.random.default_rng(1)
    for joint in JOINTS:
        metrics[f"straightness/joint/{joint}"] = float(random.uniform(0.02, 0.15))
        metrics[f"straightness/teacher/joint/{joint}"] = float(random.uniform(0.1, 0.6))
    for name, null, value in (
        ("sliced_wasserstein", 0.021, 0.034),
        ("energy", 0.0042, 0.0071),
        ("mmd", 0.0011, 0.0052),
        ("variance_ratio", 1.004, 0.93),
        ("mode_coverage", 0.99, 0.97),
    ):
        metrics[f"distribution/{name}@1"] = value
        metrics[f"distribution/{name}@10"] = value * 1.8
        metrics[f"distribution/{name}_null"] = null
    for who, scale in (("teacher@10", 1.0), ("student@1", 1.3)):
        for name, size in (
            ("jerk", 42.0),
            ("boundary_jump_mean", 0.031),
            ("boundary_jump_max", 0.21),
            ("limit_violations", 0.002),
            ("gripper_flips", 2.1),
        ):
            metrics[f"motion/{who}/{name}"] = size * scale
            for joint in JOINTS:
                metrics[f"motion/{who}/{name}/{joint}"] = float(size * scale * random.uniform(0.3, 1.6))
    return metrics


def make_arrays(*, one_time: bool = False) -> dict[str, np.ndarray]:
    """Arrays of all names; with ``one_time`` the velocity was measured at t = 1 alone."""
    random = np.random.default_rng(0)
    error = random.gamma(2.0, 0.004, (BINS, NATIVE)) * np.linspace(0.4, 2.2, BINS)[:, None]
    error[:, 6] *= 5
    error[:, REAL:] *= 0.35
    arrays = {
        "velocity_error/floor": error * random.uniform(0.4, 0.8, error.shape),
        "velocity_error_by_step/student": random.gamma(2.0, 0.004, (BINS, CHUNK))
        * np.linspace(0.6, 1.6, CHUNK),
        "endpoint_error_joint/student": random.gamma(3.0, 0.008, (4, REAL))
        * np.array([1, 3, 4, 4.5])[:, None],
        "endpoint_error_joint/nfe": np.array([1, 2, 4, 10]),
    }
    if one_time:
        error[:-1] = np.nan
        del arrays["velocity_error/floor"], arrays["velocity_error_by_step/student"]
    arrays["velocity_error/student"] = error
    for who, wide in (("teacher", 1.0), ("student", 0.95)):
        modes = np.where(random.random(8000) < 0.5, -0.9, 0.7) + 0.15 * random.normal(size=8000)
        arrays |= {
            f"histogram/{who}/noise/real": random.normal(size=8000),
            f"histogram/{who}/noise/padding": random.normal(size=10000),
            f"histogram/{who}/velocity/real": 1.3 * random.normal(size=8000),
            f"histogram/{who}/velocity/padding": 0.55 * wide * random.normal(size=10000),
            f"histogram/{who}/endpoint/real": modes * wide,
            f"histogram/{who}/endpoint/padding": 1.1 * wide * random.normal(size=10000),
        }
    noise = random.normal(size=(32, NATIVE))
    ends = np.concatenate(
        [np.sign(noise[:, :1]) * np.linspace(0.1, 1.1, REAL), 0.8 * noise[:, REAL:]], axis=1
    )
    for who, steps, slack in (("teacher", 10, 0.08), ("student", 1, 0.14)):
        times = np.linspace(1, 0, steps + 1)
        end = ends + slack * random.normal(size=ends.shape)
        bend = 0.35 * np.sin(np.pi * times)[None, :, None] * np.sign(ends[:, None])
        fan = times[None, :, None] * noise[:, None] + (1 - times)[None, :, None] * end[:, None] + bend
        arrays |= {f"fan/{who}": fan, f"fan/{who}/times": times}
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}


def make_content(videos: tuple[Path, ...] = (), *, one_time: bool = False) -> Content:
    """A complete report."""
    return Content(
        title="demo",
        verdict=Verdict(
            "One step of the student solves 89.4 % of 1,000 episodes, ten steps of its teacher 90.6 %: not inferior "
            "at a margin of 2 percentage points.",
            True,
        ),
        metrics=make_metrics(),
        arrays=make_arrays(one_time=one_time),
        success=(
            SuccessRow("teacher", 10, 1000, 906, 0.886, 0.923, 0.94, 96.2),
            SuccessRow("teacher", 1, 1000, 52, 0.040, 0.068, 0.31, 148.0),
            SuccessRow("student", 1, 1000, 894, 0.873, 0.912, 0.93, 97.5),
        ),
        comparisons=(
            "student@1 is not inferior to teacher@10 at a margin of 2 percentage points: 89.4 % against 90.6 % "
            "success in 1,000 paired episodes (difference -1.2 points, McNemar p = 0.31).",
            "teacher@1 is inferior to teacher@10 by more than 2 percentage points.",
        ),
        latency=(
            Latency("teacher", 10, 18.2, 21.0, 49.8, 55.0, 68.0, 74.1),
            Latency("teacher", 1, 18.2, 21.0, 5.1, 6.0, 23.3, 26.2),
            Latency("student", 1, 18.3, 21.2, 5.0, 5.9, 23.3, 26.0),
        ),
        videos=videos,
        commands=(
            "python -m reflow.train +fix=full32",
            "python -m reflow.evaluate student.path=outputs/demo +env=pick episodes=1000",
        ),
        configuration="seed: 0\npadding:\n  noise: full\n  target: full\n  loss: full\n",
        versions={"reflow": "0.1.0", "torch": "2.11.0", "lerobot": "0.6.1", "python": "3.12.9"},
        joint_names=JOINTS,
    )
