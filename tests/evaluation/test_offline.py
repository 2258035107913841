"""What is measured offline: the noise, the encoding, the probes, on a small teacher and students of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reflow.data import SAMPLE, VISIT, LeRobotDataModule
from reflow.data.robot import Robot, robot_of
from reflow.evaluation.offline import OfflineSettings, evaluate_offline
from reflow.evaluation.result_folder import ResultFolder
from reflow.files import read_metrics
from reflow.flow import Draws
from reflow.metrics import Straightness
from reflow.policies import FlowPolicy, load_policy, load_processors, share_frozen
from reflow.probes import (
    Distributions,
    EndpointErrors,
    Figures,
    FlowOfOneObservation,
    Motion,
    Observations,
    Observed,
    PaddingAsDeployed,
    PhysicalErrors,
    Probe,
    Purpose,
    StraightnessOfFlows,
    VelocityErrors,
    measure,
)
from reflow.probes.observations import CHUNKS_AT_ONCE, HELD_OUT, episode_looks, load_rows
from reflow.probes.padding import SAMPLES, _Reservoir
from reflow.probes.physical import JointError
from reflow.reports.folder import latency_rows
from tests.builders import make_dataset, make_teacher_folder, repo_id

STEPS, CHUNK, PLAYED = 4, 8, 5
SMALL = OfflineSettings(
    nfe=(1, 2, STEPS),
    reference_steps=6,
    val_draws=2,
    distribution_frames=2,
    fan_noises=3,
    latency_chunks=1,
    latency_nfe=(1, 2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "pretrained_model"
    return make_teacher_folder(path, num_steps=STEPS, chunk_size=CHUNK, n_action_steps=PLAYED)


def bent(folder: Path, amount: float = 0.2) -> FlowPolicy:
    """A student: the teacher with another last layer, one step."""
    student = load_policy(folder)
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "action_out_proj.bias" in name:
                parameter.add_(amount)
    student.num_steps = 1
    return student


def pair_of(folder: Path, student: FlowPolicy) -> Observations:
    teacher = load_policy(folder).requires_grad_(False)
    share_frozen(teacher, student.requires_grad_(False))
    _, postprocess = load_processors(folder, teacher)
    return Observations(
        {"teacher": teacher, "student": student},
        Draws(3),
        2,
        postprocess={"teacher": postprocess, "student": postprocess},
    )


def found_by(seen: Observed, probe: Probe) -> Figures:
    return measure(seen.by, [seen], [probe])


@pytest.fixture(scope="module")
def data(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LeRobotDataModule:
    root = make_dataset(tmp_path_factory.mktemp("data") / "set", frames=[12, 12, 12, 11], fps=20)
    teacher = load_policy(folder)
    preprocess, _ = load_processors(folder, teacher)
    return LeRobotDataModule(
        teacher.config,
        preprocess,
        repo_id=repo_id(root),
        root=root,
        val_episodes=[1, 3],
        batch_size=3,
        num_workers=0,
        val_frames=4,
    )


@pytest.fixture(scope="module")
def robot(data: LeRobotDataModule) -> Robot:
    return robot_of(data.meta)


@pytest.fixture(scope="module")
def pair(folder: Path) -> Observations:
    return pair_of(folder, bent(folder))


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def seen(pair: Observations, data: LeRobotDataModule) -> Observed:
    return pair.see(next(iter(data.val_dataloader())))


def test_every_purpose_has_noise_of_its_own(seen: Observed) -> None:
    shape, count = (CHUNK, 32), len(seen.sample)
    expected = Draws(3).noise(seen.sample, HELD_OUT + torch.arange(2).expand(count, 2), shape)
    torch.testing.assert_close(seen.randn, expected, rtol=0, atol=0)
    others = [seen.noise(purpose, 2) for purpose in Purpose]
    assert len({noise.sum().item() for noise in others}) == len(Purpose)


def test_a_shared_prefix_is_encoded_once_and_another_twice(
    folder: Path, data: LeRobotDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = bent(folder)
    with torch.no_grad():
        other.policy.model.state_proj.weight.mul_(2.0)
    batch, calls = next(iter(data.val_dataloader())), []
    for student, expected in ((bent(folder), 1), (other, 2)):
        pair = pair_of(folder, student)
        encode = type(student).encode
        with monkeypatch.context() as patch:
            patch.setattr(type(student), "encode", lambda *args, e=encode: calls.append(1) or e(*args))
            seen = pair.see(batch)
            shared = seen.context("teacher") is seen.context("student")
            seen.end("student")
        assert len(calls) == expected
        assert shared is (expected == 1)
        calls.clear()


def test_a_walk_in_parts_is_the_walk(seen: Observed) -> None:
    count = CHUNKS_AT_ONCE // len(seen.sample) + 3
    noise = seen.noise(Purpose.ANEW, count)
    whole = seen.by.policies["student"].walk(seen.context("student"), noise)
    torch.testing.assert_close(seen.walk("student", noise), whole, rtol=1e-4, atol=1e-5)


def test_physical_actions_are_those_of_stock_inference(
    folder: Path, pair: Observations, data: LeRobotDataModule
) -> None:
    batch = next(iter(data.val_dataloader()))
    seen = pair.see(batch)
    stock = load_policy(folder)
    _, postprocess = load_processors(folder, stock)
    chunk = stock.policy.predict_action_chunk(dict(batch), noise=seen.randn[:, 0].clone())
    torch.testing.assert_close(seen.physical("teacher", seen.endpoint)[:, 0], postprocess(chunk))


def test_a_student_equal_to_its_teacher_has_no_error(
    folder: Path, data: LeRobotDataModule, robot: Robot
) -> None:
    pair = pair_of(folder, load_policy(folder))
    metrics = evaluate_offline(pair, data, robot, SMALL, show=False).metrics
    own = f"@{STEPS}"
    assert metrics[f"student/endpoint_error{own}"] == 0.0
    assert metrics[f"student/endpoint_rmse_physical{own}"] == 0.0
    assert metrics[f"student/endpoint_error_to_reference{own}"] == metrics["teacher/solver_error"] > 0
    for name in ("sliced_wasserstein", "energy", "mmd", "variance_ratio", "mode_coverage", "mode_evenness"):
        assert metrics[f"distribution/{name}{own}"] == metrics[f"distribution/{name}_null"]
    assert metrics["distribution/sliced_wasserstein_null"] > 0  # other noises, or it would be no null
    for name in ("jerk", "boundary_jump_mean", "limit_violations"):
        assert metrics[f"motion/student{own}/{name}"] == metrics[f"motion/teacher{own}/{name}"]
    for name in ("real", "padding", "joint/joint_3"):
        assert metrics[f"straightness/{name}"] == metrics[f"straightness/teacher/{name}"] > 0
    assert metrics["padding/student/sensitivity"] == metrics["padding/teacher/sensitivity"] > 0


def test_everything_the_report_page_knows_is_there(
    pair: Observations, data: LeRobotDataModule, robot: Robot
) -> None:
    found = evaluate_offline(pair, data, robot, SMALL, show=False)
    space, bins, a = pair.policies["teacher"].space, SMALL.time_bins, 14
    assert {name: array.shape for name, array in found.arrays.items() if "histogram" not in name} == {
        "velocity_error/student": (bins, space.max_action_dim),
        "velocity_error_by_step/student": (bins, CHUNK),
        "velocity_error_asked/student": (1, space.max_action_dim),
        "velocity_error_asked_by_step/student": (1, CHUNK),
        "straightness/teacher": (space.max_action_dim,),
        "straightness/student": (space.max_action_dim,),
        "fan/teacher": (3, STEPS + 1, space.max_action_dim),
        "fan/teacher/times": (STEPS + 1,),
        "fan/student": (3, 2, space.max_action_dim),
        "fan/student/times": (2,),
        "endpoint_error_joint/student": (3, a),
        "endpoint_error_joint/nfe": (3,),
    }
    for who in ("teacher", "student"):
        for what in ("endpoint", "velocity", "noise"):
            for part in ("real", "padding"):
                assert 0 < found.arrays[f"histogram/{who}/{what}/{part}"].size <= SAMPLES
    assert all(array.dtype == np.float32 for array in found.arrays.values())
    assert all(np.isfinite(value) for value in found.metrics.values())
    for n in SMALL.nfe:
        for who in ("teacher", "student"):
            for name in ("endpoint_error", "endpoint_error_to_reference", "endpoint_rmse_physical"):
                assert f"{who}/{name}@{n}" in found.metrics
        assert f"student/endpoint_rmse_physical@{n}/joint_13" in found.metrics
    assert found.metrics[f"teacher/endpoint_error@{STEPS}"] == 0.0
    assert found.metrics["teacher/endpoint_error@1"] > 0.01
    assert {f"motion/student@1/jerk/joint_{i}" for i in range(a)} <= found.metrics.keys()
    assert {"deploy/loss", "velocity/relative_error", "padding/teacher/repadding_max"} <= found.metrics.keys()
    rows = latency_rows(found.metrics)
    assert [(row.name, row.nfe) for row in rows] == [
        ("teacher", 2), ("teacher", 1), ("student", 2), ("student", 1)
    ]  # fmt: skip
    assert all(row.total_p50_ms > row.prefix_p50_ms > 0 for row in rows)


def test_the_same_settings_give_the_same_figures(
    pair: Observations, data: LeRobotDataModule, robot: Robot
) -> None:
    quick = replace(SMALL, latency_chunks=0)
    first, second = (evaluate_offline(pair, data, robot, quick, show=False) for _ in range(2))
    assert first.metrics == second.metrics
    assert not any(name.startswith("latency") for name in first.metrics)
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[name], err_msg=name)


def test_endpoint_errors_by_hand(seen: Observed, robot: Robot) -> None:
    probes = EndpointErrors((2,), 6, to_reference=True), PhysicalErrors(robot.joints, (2,), 6)
    metrics = measure(seen.by, [seen], probes).metrics
    teacher, student = seen.by.policies["teacher"], seen.by.policies["student"]
    context = seen.context("teacher")
    own, far = (teacher.walk(context, seen.randn, n)[..., :14] for n in (STEPS, 6))
    two = student.walk(context, seen.randn, 2)[..., :14]

    def relative(x: torch.Tensor, to: torch.Tensor) -> float:
        return ((x - to).norm(dim=(-2, -1)) / to.norm(dim=(-2, -1))).mean().item()

    assert metrics["student/endpoint_error@2"] == pytest.approx(relative(two, own), rel=1e-4)
    expected = relative(two[:, :1], far[:, :1])  # the reference is walked from one noise per observation
    assert metrics["student/endpoint_error_to_reference@2"] == pytest.approx(expected, rel=1e-4)
    assert metrics["teacher/solver_error"] == pytest.approx(relative(own[:, :1], far[:, :1]), rel=1e-4)
    scale = seen.by.postprocess["student"](torch.ones(14)) - seen.by.postprocess["student"](torch.zeros(14))
    rmse = ((two - own) * scale).square().mean(dim=(0, 1, 2)).sqrt()
    assert metrics["student/endpoint_rmse_physical@2/joint_5"] == pytest.approx(rmse[5].item(), rel=1e-4)
    assert metrics["student/endpoint_rmse_physical@2"] == pytest.approx(rmse.mean().item(), rel=1e-4)


def test_joint_error_has_its_closed_form() -> None:
    error = JointError(2)
    error.update(torch.tensor([[[3.0, 1.0]]]), torch.zeros(1, 1, 2))
    error.update(torch.tensor([[[4.0, 1.0]]]), torch.zeros(1, 1, 2))
    assert error.compute().tolist() == pytest.approx([12.5**0.5, 1.0])
    with pytest.raises(
        ValueError, match=r"actions have shape \(1, 3\), reference \(1, 3\).*the last dimension 2"
    ):
        error.update(torch.zeros(1, 3), torch.zeros(1, 3))
    with pytest.raises(
        ValueError, match=r"actions have shape \(1, 2\), reference \(4, 2\); allowed: two equal"
    ):
        error.update(torch.zeros(1, 2), torch.zeros(4, 2))


def test_straightness_of_both_is_measured_on_their_own_ways(seen: Observed, robot: Robot) -> None:
    space = seen.by.policies["teacher"].space
    found = found_by(seen, StraightnessOfFlows(3, joints=robot.joints))
    by_hand = Straightness(space)
    noise, velocities = seen.randn[:, :1], []
    x_t = noise
    for step in range(3):
        t = torch.full(x_t.shape[:2], 1 - step / 3)
        velocities.append(seen.velocity("student", x_t, t))
        x_t = x_t - velocities[-1] / 3
    by_hand.update(torch.stack(velocities), noise, x_t)
    for part, value in by_hand.compute().items():
        assert found.metrics[f"straightness/{part}"] == pytest.approx(value.item(), rel=1e-4)
    joints = [found.metrics[f"straightness/joint/{joint}"] for joint in robot.joints]
    np.testing.assert_allclose(found.arrays["straightness/student"][:14], joints, rtol=1e-6)


def test_velocity_errors_are_measured_where_the_student_is_asked(seen: Observed) -> None:
    found = found_by(seen, VelocityErrors(time_bins=4))
    t = torch.ones(seen.randn.shape[:2])
    off = (seen.velocity("student", seen.randn, t) - (seen.randn - seen.endpoint))[..., :14]
    assert found.metrics["deploy/loss"] == pytest.approx(off.square().mean().item(), rel=1e-4)
    asked = found.arrays["velocity_error_asked/student"][0]
    assert asked[:14].mean() == pytest.approx(found.metrics["deploy/loss"], rel=1e-5)
    assert found.arrays["velocity_error_asked_by_step/student"].mean() == pytest.approx(
        asked[:14].mean(), rel=1e-5
    )
    assert np.isfinite(found.arrays["velocity_error/student"]).all()  # over all times, not only t = 1


def test_a_student_of_several_steps_is_asked_at_each(folder: Path, data: LeRobotDataModule) -> None:
    student = bent(folder)
    student.num_steps = 2
    seen = pair_of(folder, student).see(next(iter(data.val_dataloader())))
    losses = []
    for time in (1.0, 0.5):
        t = torch.full(seen.randn.shape[:2], time)
        x_t = time * seen.randn + (1 - time) * seen.endpoint
        off = seen.velocity("student", x_t, t) - (seen.randn - seen.endpoint)
        losses.append(off[..., :14].square().mean().item())
    found = found_by(seen, VelocityErrors())
    assert found.metrics["deploy/loss"] == pytest.approx(sum(losses) / 2, rel=1e-4)


def test_padding_probe_without_padding(tmp_path: Path, data: LeRobotDataModule) -> None:
    folder = make_teacher_folder(tmp_path / "p", chunk_size=CHUNK, max_action_dim=14, num_steps=2)
    seen = pair_of(folder, bent(folder)).see(next(iter(data.val_dataloader())))
    found = found_by(seen, PaddingAsDeployed())
    assert not any("padding" in name for name in (*found.metrics, *found.arrays))
    assert "real/student/endpoint_std" in found.metrics


def test_samples_for_histograms_are_thinned_over_all_batches() -> None:
    kept = _Reservoir(SAMPLES)
    for start in (0, 20_000, 40_000):
        kept.add(torch.arange(start, start + 20_000, dtype=torch.float32))
    assert len(kept.values) == len(kept.values.unique()) == SAMPLES
    shares = torch.histc(kept.values, 3, 0, 60_000) / SAMPLES
    # A share of 20,000 draws without replacement has a standard deviation below sqrt(2 / 9 / 20,000) = 0.0033.
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), rtol=0, atol=0.02)


def test_fan_goes_from_noise_to_endpoint_at_one_chunk_step(seen: Observed) -> None:
    found = found_by(seen, FlowOfOneObservation(5))
    noise = seen.noise(Purpose.FAN, 5)[0]
    ends = seen.by.policies["teacher"].walk(seen.context("teacher"), seen.noise(Purpose.FAN, 5))[0]
    step = int(ends[..., :14].var(dim=0).sum(-1).argmax())
    for who in ("teacher", "student"):
        np.testing.assert_array_equal(found.arrays[f"fan/{who}"][:, 0], noise[:, step].numpy())
    np.testing.assert_allclose(
        found.arrays["fan/teacher"][:, -1], ends[:, step].numpy(), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(found.arrays["fan/teacher/times"], np.linspace(1, 0, STEPS + 1), atol=1e-6)


def test_distributions_look_at_so_many_observations_and_no_more(
    pair: Observations, data: LeRobotDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Distributions((1,), observations=3, noises=64)
    probe.start(pair)
    walked: list[int] = []
    walk = Observed.walk
    monkeypatch.setattr(Observed, "walk", lambda self, *a: walked.append(len(self.sample)) or walk(self, *a))
    for batch in data.val_dataloader():
        probe.update(pair.see(batch))
    assert walked == [3, 3, 3]  # the first batch: reference, null, student@1


def test_an_episode_is_played_chunk_by_chunk(
    pair: Observations, data: LeRobotDataModule, robot: Robot
) -> None:
    looks = episode_looks(data, PLAYED)
    frames = data.held_out.frames
    assert [[int(frames.frame_index[row]) for row in episode] for episode in looks] == [[0, 5, 10]] * 2
    rows = [row for episode in looks for row in episode]
    motion = Motion(robot, PLAYED, [3, 3], [("student", 1)])
    motion.start(pair)
    chunks = []
    for batch in load_rows(data, rows):
        seen = pair.see(batch)
        motion.update(seen)
        end = seen.walk("student", seen.noise(Purpose.MOTION, 1), 1)
        chunks.append(seen.physical("student", end)[:, 0, :PLAYED])
    played = torch.cat(chunks).unflatten(0, (2, 3)).flatten(1, 2).numpy()  # two episodes of 15 actions
    metrics = motion.result().metrics
    jerk = np.diff(played.astype(np.float64), n=3, axis=1) * 20**3
    assert metrics["motion/student@1/jerk/joint_2"] == pytest.approx(np.sqrt((jerk[..., 2] ** 2).mean()))
    jumps = np.abs(np.diff(played.astype(np.float64), axis=1))[:, [4, 9]]
    assert metrics["motion/student@1/boundary_jump_mean"] == pytest.approx(jumps.mean())
    assert metrics["motion/student@1/boundary_jump_max/joint_7"] == pytest.approx(jumps[..., 7].max())


def test_episodes_too_short_for_a_jerk_are_left_out(
    pair: Observations, data: LeRobotDataModule, robot: Robot
) -> None:
    motion = Motion(robot, 3, [1, 1, 1], [("student", 1)])
    motion.start(pair)
    for batch in load_rows(data, [0, 1, 2]):
        motion.update(pair.see(batch))
    assert motion.result() == Figures()


def test_limits_and_names_of_a_robot(data: LeRobotDataModule) -> None:
    low, high = (torch.as_tensor(data.meta.stats["action"][key]) for key in ("min", "max"))
    robot = robot_of(data.meta, limit_margin=0.1)
    torch.testing.assert_close(robot.lower.double(), low - 0.1 * (high - low), check_dtype=False)
    torch.testing.assert_close(robot.upper.double(), high + 0.1 * (high - low), check_dtype=False)
    assert (robot.fps, robot.joints[13], robot.grippers) == (20.0, "joint_13", ())
    given = robot_of(data.meta, lower=[-1.0] * 14, upper=[2.0] * 14)
    assert (given.lower.tolist(), given.upper.tolist()) == ([-1.0] * 14, [2.0] * 14)
    with pytest.raises(ValueError, match=r"lower has 3 limits; allowed: 14, one for each of joint_0"):
        robot_of(data.meta, lower=[0.0, 0.0, 0.0])


class _Meta:
    repo_id, fps = "me/data", 30

    def __init__(self, names: object, stats: object) -> None:
        self.features, self.stats = {"action": {"shape": (2,), "names": names}}, stats


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"motors": ["arm", "left_Gripper.pos"]}, ("arm", "left_Gripper.pos")),
        ({"y": 1, "x": 0}, ("x", "y")),
        (["arm/left", "arm/right"], ("arm_left", "arm_right")),
        (None, ("joint_0", "joint_1")),
        (["only one"], ("joint_0", "joint_1")),
    ],
)
def test_joint_names_as_data_sets_have_them(names: object, expected: tuple[str, ...]) -> None:
    robot = robot_of(_Meta(names, {"action": {"min": [0, 0], "max": [1, 1]}}))  # type: ignore[arg-type]
    assert robot.joints == expected
    assert robot.grippers == ((1,) if "left_Gripper.pos" in expected else ())


def test_limits_that_were_never_recorded() -> None:
    with pytest.raises(ValueError, match=r"data set me/data has no min and max of action.*lower=\[\.\.\.\]"):
        robot_of(_Meta(None, {}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"noises": 63}, r"noises is 63; allowed: 64 or more; .*cannot be told from fewer"),
        ({"nfe": (1, 0)}, r"nfe is \[1, 0\]; allowed: one or more different numbers of steps"),
        ({"nfe": ()}, r"nfe is \[\]"),
        ({"nfe": (1, 1)}, r"nfe is \[1, 1\]"),
        ({"student_nfe": (0,)}, r"student_nfe is \[0\]"),
        ({"latency_nfe": (0,)}, r"latency_nfe is \[0\]"),
        ({"latency_chunks": -1}, r"latency_chunks is -1; allowed: 0 or more; 0 times nothing"),
        *(
            ({name: 0}, rf"{name} is 0; allowed: 1 or more")
            for name in (
                "reference_steps",
                "val_draws",
                "time_bins",
                "straightness_steps",
                "distribution_frames",
            )
        ),
        ({"fan_noises": 1}, r"fan_noises is 1; allowed: 2 or more"),
    ],
)
def test_impossible_settings(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OfflineSettings(**wrong)


def test_what_has_no_meaning_is_left_out_and_nothing_else(
    folder: Path, pair: Observations, data: LeRobotDataModule, robot: Robot
) -> None:
    arm = replace(robot, joints=("gripper_fixed", "gripper", *robot.joints[2:]), upper=robot.upper.clone())
    arm.upper[0] = arm.lower[0]  # it never moved in the recordings
    looks = list(range(6))
    seen = pair.see(next(load_rows(data, looks[:3])))
    for n_action_steps, lengths in ((PLAYED, [1, 1, 1]), (PLAYED, [3])):
        motion = Motion(arm, n_action_steps, lengths, [("student", 1)])
        found = measure(pair, [seen], [motion]).metrics
        assert all(np.isfinite(value) for value in found.values())
        flips = {name for name in found if "gripper_flips/" in name}
        assert flips == {"motion/student@1/gripper_flips/gripper"}
        assert ("motion/student@1/boundary_jump_max" in found) == (lengths == [3])
        assert ("motion/student@1/boundary_jump_mean/joint_5" in found) == (lengths == [3])


def test_a_student_of_no_numbers_has_figures_that_are_none(
    folder: Path, data: LeRobotDataModule, robot: Robot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are null in both files, are said, and are read again."""
    pair = pair_of(folder, bent(folder, float("nan")))
    seen = pair.see(next(iter(data.val_dataloader())))
    motion = Motion(robot, PLAYED, [1] * len(seen.sample), [("student", 1), ("teacher", STEPS)])
    probes = [EndpointErrors((1,), 6), PhysicalErrors(robot.joints, (1,), 6), StraightnessOfFlows(), motion]
    found = measure(pair, [seen], probes)
    unknown = {name for name, value in found.metrics.items() if not np.isfinite(value)}
    assert {"student/endpoint_error@1", "straightness/padding", "motion/student@1/jerk"} <= unknown
    assert not [name for name in unknown if "teacher" in name]
    results = ResultFolder(tmp_path / "results")
    results.keep_offline({"seed": 0}, found)
    results.finish(found.metrics)
    assert f"warning: {len(unknown)} figures are not finite, and null in" in capsys.readouterr().err
    again = results.offline({"seed": 0})
    assert again is not None
    for metrics in (again.metrics, read_metrics(results.path / "metrics.json")):
        assert metrics.keys() == found.metrics.keys()
        assert {name for name, value in metrics.items() if np.isnan(value)} == unknown


def test_padding_that_stands_still_is_neither_straight_nor_bent(
    pair: Observations, seen: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = pair.space
    still = torch.cat([torch.ones(space.action_dim), torch.zeros(space.padding_dim)])
    velocity, policy = type(pair.policies["student"]).velocity, type(pair.policies["student"])
    monkeypatch.setattr(policy, "velocity", lambda *args: still * velocity(*args))
    monkeypatch.setattr(policy, "base_noise", lambda self, randn: still * randn)
    masked = pair.see({**seen.batch, SAMPLE: seen.sample, VISIT: seen.visit})
    found = found_by(masked, StraightnessOfFlows()).metrics
    assert found.keys() == {"straightness/all", "straightness/real"}
    assert all(np.isfinite(value) for value in found.values())
