"""What an implementation must do beyond having the right methods, as functions that anybody can run in a test of their own.

Each raises `ContractError` with the first broken promise, and returns nothing when all are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from soar.cameras import MAIN, is_camera_name
from soar.errors import SoarError
from soar.policies.base import Policy, begin, cameras_of
from soar.robots.base import Health, Robot
from soar.seeding import generator
from soar.subgoals.base import SubgoalModel
from soar.types import ACTION_DIM, STATE_DIM, Goal, Image, ImageAndInstruction, Observation
from soar.vlm.base import Answer, FilmModel, VisionLanguageModel


class ContractError(SoarError):
    """An implementation breaks its protocol; the message names the promise."""


def check_robot(robot: Robot) -> None:
    """Check a robot, moving it by 3 cm from its home pose and back: keep clear of it.

    Raises:
        ContractError: A promise is broken.
    """
    _require(isinstance(robot, Robot), f"{robot!r} lacks a method of soar.robots.base.Robot")
    robot.home()
    first = robot.observe()
    _check_observation(first)
    _require(first.state[6] > 0.5, f"home() opens the gripper; its opening is {first.state[6]:.2f}")
    _require(robot.health().ok, f"a robot that went home is healthy; it says {robot.health()}")
    _require(isinstance(robot.health(), Health), "health() returns a soar.robots.base.Health")
    for axis in range(3):
        for direction in (1.0, -1.0):
            before = robot.observe().state
            for _ in range(3):
                action = np.zeros(ACTION_DIM, np.float32)
                action[axis], action[6] = direction * 0.01, 1.0
                robot.act(action)
            after = robot.observe()
            _check_observation(after)
            moved = (after.state - before)[:3]
            name = "xyz"[axis]
            _require(
                bool(0.015 < direction * moved[axis] < 0.045),
                f"three actions of {direction:+.0f} cm along {name} of the base frame move the gripper by about 3 cm along "
                f"{name}, given that home is 3 cm inside the workspace; it moved by {moved} m",
            )
            _require(_sizes(after) == _sizes(first), "images keep their size, and cameras their names")
    close = np.zeros(ACTION_DIM, np.float32)
    for _ in range(5):
        robot.act(close)
    closed = float(robot.observe().state[6])
    _require(closed < 0.5, f"a gripper target of 0 closes the gripper; after 5 actions its opening is {closed:.2f}")
    action = np.zeros(ACTION_DIM, np.float32)
    action[0] = 0.01
    for _ in range(3):
        robot.act(action)
    robot.recover()
    again = robot.observe()
    distance = float(np.linalg.norm((again.state - first.state)[:3]))
    _require(distance < 0.02, f"recover() ends in the home pose; it ended {distance:.3f} m away")
    for camera in _sizes(again):
        again.picture(camera)[:] = 0
        _require(bool(robot.observe().picture(camera).any()), "an observation belongs to the caller, who may overwrite it")


def check_vlm(vlm: VisionLanguageModel, size: int = 64, *, several: bool = True) -> None:
    """Check a vision-language model with noise images of `size` pixels.

    Args:
        vlm: The model.
        size: Height and width of the images.
        several: Whether a client's server takes several pictures a question, too.

    Raises:
        ContractError: A promise is broken.
    """
    _require(isinstance(vlm, VisionLanguageModel), f"{vlm!r} lacks a member of soar.vlm.base.VisionLanguageModel")
    _check_id(vlm.id)
    images = [_noise(size, i) for i in range(2)]
    questions = ["Is the green block in the wooden bowl?", "Is the drawer open?"]
    answers = vlm.answer(images, questions)
    _require(len(answers) == 2, f"there is one answer a question; two questions got {len(answers)}")
    for answer in answers:
        _require(isinstance(answer, Answer), f"an answer is a soar.vlm.base.Answer, got {type(answer).__name__}")
        _require(answer.p_yes is None or 0 <= answer.p_yes <= 1, f"p_yes is None or in 0..1, got {answer.p_yes}")
    _require(vlm.answer([], []) == [], "no question gets no answer")
    alone = vlm.answer(images[:1], questions[:1])[0]
    same = alone.p_yes == answers[0].p_yes or (
        alone.p_yes is not None and answers[0].p_yes is not None and abs(alone.p_yes - answers[0].p_yes) < 0.01
    )
    _require(same, f"an answer does not depend on its batch; alone {alone}, in a batch {answers[0]}")
    if several and isinstance(vlm, FilmModel):
        _require(vlm.answer_films([], []) == [], "no question about a film gets no answer")
        films = vlm.answer_films([images[:1], images], questions, true_false=True)
        _require(len(films) == 2, f"there is one answer a film; two films got {len(films)}")
        (shown,) = vlm.answer_films([images[:1]], questions[:1])
        _require(shown.text == alone.text, f"a film of one picture is that picture; {alone}, as a film {shown}")


def check_subgoal_model(model: SubgoalModel, size: int = 64) -> None:
    """Check a subgoal model with noise images of `size` pixels.

    Raises:
        ContractError: A promise is broken.
    """
    _require(isinstance(model, SubgoalModel), f"{model!r} lacks a member of soar.subgoals.base.SubgoalModel")
    _check_id(model.id)
    images = [_noise(size, i) for i in range(2)]
    before = [image.copy() for image in images]
    instructions = ["put the green block in the wooden bowl", "open the drawer"]
    goals = model.generate(images, instructions, [1, 2])
    _require(len(goals) == 2, f"there is one subgoal an image; two images got {len(goals)}")
    for goal, image in zip(goals, images, strict=True):
        _require(goal.dtype == np.uint8, f"subgoals are uint8, got {goal.dtype}")
        _require(goal.shape == image.shape, f"a subgoal has its image's size; {image.shape} became {goal.shape}")
    _require(all(np.array_equal(a, b) for a, b in zip(images, before, strict=True)), "the images passed in stay as they are")
    again = model.generate(images[:1], instructions[:1], [1])[0]
    # Batched arithmetic may round differently: equal up to one grey level.
    close = bool(np.max(np.abs(again.astype(int) - goals[0].astype(int))) <= 1)
    _require(close, "equal images, instructions and seeds give equal subgoals, alone or in a batch")
    _require(model.generate([], [], []) == [], "no image gets no subgoal")


def check_policy(policy: Policy, size: int = 64) -> None:
    """Check a deterministic policy with noise images of `size` pixels.

    Raises:
        ContractError: A promise is broken.
    """
    _require(isinstance(policy, Policy), f"{policy!r} lacks a member of soar.policies.base.Policy")
    _check_id(policy.id)
    state = np.array([0.27, 0.0, 0.12, 0.0, 0.0, 0.0, 1.0], np.float32)
    further = [camera for camera in cameras_of(policy) if camera != MAIN]
    observations = [
        Observation(image_HWC=_noise(size, i), state=state, extra_images={camera: _noise(size, 20 + i) for camera in further})
        for i in range(3)
    ]
    begin(policy, "open the drawer")
    goals: list[Goal] = [_noise(size, 10 + i) for i in range(3)]
    if policy.conditioning == "language":
        goals = ["open the drawer", "close the drawer", "open the drawer"]
    if policy.conditioning == "both":
        goals = [_noise(size, 10), "close the drawer", ImageAndInstruction(image_HWC=_noise(size, 12), instruction="open it")]
    actions = np.asarray(policy.act(observations, goals))
    _require(actions.shape == (3, ACTION_DIM), f"three observations get actions (3, {ACTION_DIM}), got {actions.shape}")
    _require(actions.dtype == np.float32, f"actions are float32, got {actions.dtype}")
    _require(bool(np.all(np.isfinite(actions))), "actions are finite")
    gripper = actions[:, 6]
    _require(bool(np.all((gripper >= 0) & (gripper <= 1))), f"the gripper's target is in 0..1, got {gripper}")
    begin(policy, "open the drawer")
    alone = np.asarray(policy.act(observations[:1], goals[:1]))
    _require(bool(np.allclose(alone[0], actions[0], atol=1e-4)), "after reset(), equal inputs give equal actions in any batch")


def check_learner(learner: Any, data: Any, folder: Path, open_policy: Callable[[Path], Policy]) -> None:
    """Check a learner on a few small episodes: it is asked three times, and must not take long with these.

    Args:
        learner: A `soar.training.learner.Learner`.
        data: A `soar.training.learner.LearningData`; its stores are folders.
        folder: An empty place for candidates.
        open_policy: Opens the policy that a learner left in a folder.

    Raises:
        ContractError: A promise is broken.
    """
    for member in ("check", "learn"):
        _require(callable(getattr(learner, member, None)), f"{learner!r} lacks {member}() of soar.training.learner.Learner")
    stores = [Path(data.pretraining), *([Path(data.autonomous.store)] if data.autonomous is not None else [])]
    before = [_files(store) for store in stores]
    told: list[tuple[int, int]] = []
    first = learner.learn(None, data, folder / "first", seed=0, on_step=lambda done, total, _: told.append((done, total)))
    _require(str(first) == str(folder / "first"), f"learn() returns the folder that it was given; it returned {first}")
    _require([_files(store) for store in stores] == before, "learn() leaves the data as they are")
    _require(all(0 <= done <= total for done, total in told), f"on_step is told (steps done, steps in all), got {told[:3]}")
    policy = open_policy(folder / "first")
    check_policy(policy)
    written = _files(folder / "first")
    learner.learn(None, data, folder / "first", seed=0)
    _require(_files(folder / "first") == written, "a folder that holds its candidate is returned as it is")
    learner.learn(None, data, folder / "again", seed=0)
    _require(open_policy(folder / "again").id == policy.id, "equal data and seeds give a policy of equal id")


def _files(folder: Path) -> dict[str, str]:
    """Return a digest of each file of a folder by its name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _require(kept: bool, promise: str) -> None:
    if not kept:
        raise ContractError(promise)


def _check_id(name: object) -> None:
    _require(isinstance(name, str) and bool(name), f"id is a non-empty string, got {name!r}")


def _check_observation(observation: Observation) -> None:
    image, state = observation.image_HWC, observation.state
    is_image = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    _require(is_image, f"image_HWC is uint8 (H, W, 3), got {image.dtype} {image.shape}")
    for name, further in observation.extra_images.items():
        _require(is_camera_name(name), f"a further camera has a name of its own (soar.cameras), got {name!r}")
        is_image = further.dtype == np.uint8 and further.ndim == 3 and further.shape[2] == 3
        _require(is_image, f"extra_images[{name!r}] is uint8 (H, W, 3), got {further.dtype} {further.shape}")
    is_state = state.dtype == np.float32 and state.shape == (STATE_DIM,)
    _require(is_state, f"state is float32 ({STATE_DIM},), got {state.dtype} {state.shape}")
    _require(bool(np.all(np.isfinite(state))), f"the state is finite, got {state}")
    _require(bool(-0.1 <= state[6] <= 1.1), f"the opening is in 0..1, got {state[6]}")


def _sizes(observation: Observation) -> dict[str, tuple[int, ...]]:
    return {MAIN: observation.image_HWC.shape} | {name: image.shape for name, image in observation.extra_images.items()}


def _noise(size: int, seed: int) -> Image:
    return generator(seed, "contract").integers(0, 256, (size, size, 3), dtype=np.uint8)
