"""Both ways pick up the cube, their average does not, and labels stay clean under perturbation."""

from itertools import product

import numpy as np
import pytest

from reflow.data.shrink import shrink_frame
from reflow.demo.dataset import BOX, CAMERA
from reflow.demo.demonstrator import (
    ARMS,
    EPISODE_STEPS,
    START_GRIPPER,
    START_JOINTS,
    Perturbation,
    minimum_jerk,
    toss,
)
from reflow.demo.kinematics import ArmKinematics, TipPose
from reflow.demo.rollout import Stage
from reflow.demo.scene import CubeRange, is_picked

MOVED = {"left": slice(0, 7), "right": slice(7, 14)}
IDLE = {"left": slice(7, 14), "right": slice(0, 7)}
HELD_BY = {"left": 4, "right": 2}  # the environment's reward
START = np.append(START_JOINTS, START_GRIPPER)
CORNERS = list(product(CubeRange().x, CubeRange().y))


@pytest.fixture(params=ARMS)
def arm(request):
    return request.param


@pytest.fixture
def put_cube(scene, monkeypatch):
    """Resets the scene with the cube at a place of one's choice; returns its pose."""

    def put(x, y):
        monkeypatch.setattr(scene, "cube", CubeRange((x, x), (y, y)))
        return scene.reset(0)

    return put


def play(scene, commands):
    return [scene.step(command) for command in commands]


def test_start_pose_is_that_of_the_scene(scene):
    scene.reset(0)
    np.testing.assert_allclose(scene.state(), np.tile(START, 2), atol=1e-9)


@pytest.mark.parametrize("x", [0.0, 0.1, 0.15])
@pytest.mark.parametrize("y", [0.4, 0.6])
def test_inverse_kinematics_undoes_forward_kinematics(scene, arm, x, y):
    kinematics = ArmKinematics(scene.physics.model.ptr, arm, START_JOINTS)
    goal = TipPose(np.array([x, y, 0.05]), 1.2)
    joints = kinematics.solve(goal)
    reached = kinematics.tip(joints)
    np.testing.assert_allclose(reached.position, goal.position, atol=2e-5)
    assert reached.pitch == pytest.approx(goal.pitch, abs=2e-5)
    assert joints[3] == 0.0


def test_fingers_close_square_to_the_cube(scene, demonstrator, put_cube, arm):
    pose = put_cube(0.12, 0.54)
    play(scene, demonstrator.plan(pose, arm)[:54])
    fingers = [
        scene.physics.named.data.xpos[f"vx300s_{arm}/{side}_finger_link"] for side in ("left", "right")
    ]
    across = np.subtract(*fingers) / np.linalg.norm(np.subtract(*fingers))
    assert abs(across[1]) > 0.99


def test_inverse_kinematics_says_what_is_out_of_reach(demonstrator, arm):
    with pytest.raises(ValueError, match=rf"{arm} arm cannot bring its finger tips to \[0.0, 2.0"):
        demonstrator.plan(np.array([0.0, 2.0, 0.05, 1, 0, 0, 0]), arm)


def test_rejects_an_unknown_arm(demonstrator):
    with pytest.raises(ValueError, match="arm='both' must be one of"):
        demonstrator.plan(CubeRange().sample(0), "both")


def test_plan_is_smooth_and_leaves_the_other_arm_alone(demonstrator, arm):
    commands = demonstrator.plan(CubeRange().sample(0), arm)
    assert commands.shape == (EPISODE_STEPS, 14)
    np.testing.assert_array_equal(commands[:, IDLE[arm]], np.tile(START, (EPISODE_STEPS, 1)))
    joints = np.vstack([START[:6], commands[:, MOVED[arm]][:, :6]])
    assert np.abs(np.diff(joints, axis=0)).max() < 0.12  # rad a step, 6 rad/s
    assert np.abs(np.diff(joints, 2, axis=0)).max() < 0.02
    grippers = commands[:, MOVED[arm]][:, 6]
    assert grippers.min() == 0.0
    assert grippers.max() == 1.0


def test_minimum_jerk_is_the_quintic_from_rest_to_rest():
    path = minimum_jerk(np.array([1.0]), np.array([3.0]), 100)[:, 0]
    assert path[-1] == 3.0
    assert path[49] == pytest.approx(2.0)
    speed = np.diff(np.append(1.0, path)) * 100
    assert speed[[0, -1]] == pytest.approx(0.0, abs=1e-2)
    assert speed.max() == pytest.approx(
        2.0 * 15 / 8, rel=1e-3
    )  # the quintic's peak speed is 15/8 of the mean


@pytest.mark.parametrize(("x", "y"), [*CORNERS, (0.1, 0.5)])
def test_picks_from_everywhere_in_the_range(scene, demonstrator, put_cube, arm, x, y):
    rewards = play(scene, demonstrator.plan(put_cube(x, y), arm))
    assert is_picked(rewards)
    assert rewards[-1] == HELD_BY[arm]
    height = scene.cube_position()[2]
    assert 0.08 < height < 0.15


@pytest.mark.parametrize("miss", [(0.015, 0.0), (-0.015, 0.0), (0.0, 0.015), (0.0, -0.015)])
def test_grasp_forgives_a_miss_by_a_centimetre_and_a_half(scene, demonstrator, put_cube, arm, miss):
    pose = put_cube(0.1, 0.5)
    pose[:2] += miss
    assert is_picked(play(scene, demonstrator.plan(pose, arm)))


@pytest.mark.parametrize(("x", "y"), [*CORNERS, (0.1, 0.5)])
def test_the_average_of_both_ways_is_no_way(scene, demonstrator, put_cube, x, y):
    pose = put_cube(x, y)
    rewards = play(scene, (demonstrator.plan(pose, "left") + demonstrator.plan(pose, "right")) / 2)
    assert max(rewards) == 0


def test_coin_is_fair_fixed_by_the_seed_and_independent_of_the_cube():
    seeds = range(2000)
    left = np.array([toss(seed) == "left" for seed in seeds])
    assert 0.46 < left.mean() < 0.54
    assert [toss(seed) for seed in range(20)] == [toss(seed) for seed in range(20)]
    cubes = np.stack([CubeRange().sample(seed)[:2] for seed in seeds])
    assert np.abs(np.corrcoef(np.column_stack([cubes, left]).T)[2, :2]).max() < 0.07


def test_perturbation_moves_the_state_but_not_the_label():
    always, never = Perturbation(share=1.0), Perturbation(share=0.0)
    pushed, clean = (
        Stage(perturbation=perturbation).demonstrate(3, render=False) for perturbation in (always, never)
    )
    assert pushed.told["perturbed"]
    assert not clean.told["perturbed"]
    np.testing.assert_array_equal(pushed.actions, clean.actions)
    np.testing.assert_array_equal(pushed.states[: always.start + 1], clean.states[: always.start + 1])
    drift = np.abs(pushed.states - clean.states)
    assert drift[:, MOVED[pushed.told["arm"]]].max() > 0.02
    assert drift[:50, IDLE[pushed.told["arm"]]].max() < 1e-6
    assert pushed.success
    assert clean.success


def test_perturbation_comes_as_often_and_as_large_as_asked():
    perturbation = Perturbation(share=0.3, size=0.05, start=10, end=30)
    pushes = np.stack([perturbation.draw(seed, "left") for seed in range(1000)])
    assert 0.26 < pushes.any(axis=(1, 2)).mean() < 0.34
    assert 0.045 < np.abs(pushes).max() <= 0.05
    assert not pushes[:, :, 6:].any()  # neither grippers nor the other arm
    assert not pushes[:, [*range(11), *range(29, 100)]].round(12).any()
    assert np.abs(np.diff(pushes, axis=1)).max() < 0.01


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("share", {"share": 1.5}),
        ("size", {"size": -0.1}),
        ("start", {"start": 20, "end": 20}),
        ("start", {"end": 101}),
    ],
)
def test_rejects_a_senseless_perturbation(field, values):
    with pytest.raises(ValueError, match=f"Perturbation.{field}="):
        Perturbation(**values)


def test_a_seed_gives_the_same_episode_again(stage):
    first, _, again = (stage.demonstrate(seed, render=False) for seed in (8, 9, 8))
    assert first.told["arm"] == again.told["arm"] == toss(8)
    np.testing.assert_array_equal(first.states, again.states)
    assert first.summary() == again.summary()
    assert first.frames is None


def test_a_demonstration_is_the_plan_with_its_push_played_in_the_bare_scene(scene, demonstrator, stage):
    """To the end of the plan, though the cube is picked before; seen before each command, frame by frame."""
    seed = next(seed for seed in range(20) if Perturbation().draw(seed, toss(seed)).any())
    given, push = stage.demonstrate(seed), Perturbation().draw(seed, toss(seed))
    labels = demonstrator.plan(scene.reset(seed), given.told["arm"]).astype(np.float32)
    np.testing.assert_array_equal(given.actions, labels)
    rewards = []
    for step, command in enumerate(labels + push):
        np.testing.assert_array_equal(given.states[step], scene.state().astype(np.float32))
        if step % 25 == 0:
            np.testing.assert_array_equal(given.frames[CAMERA][step], shrink_frame(scene.render(), BOX))
        rewards.append(scene.step(command))
    assert is_picked(rewards[:-5])
    assert (given.success, given.told["perturbed"], len(given.states)) == (True, True, EPISODE_STEPS)


def test_nine_in_ten_demonstrations_succeed(stage):
    results = [stage.demonstrate(seed, render=False) for seed in range(100_000, 100_030)]
    assert {result.told["arm"] for result in results} == set(ARMS)
    assert np.mean([result.success for result in results]) >= 0.9
