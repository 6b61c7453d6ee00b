"""What all readers share: N steps of a file become an episode, and images that are repeated become subgoals."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from soar.datasets.action_processing import GRIPPER, MOTION
from soar.episodes import jpeg as frames
from soar.episodes.encoded import EncodedEpisode
from soar.errors import FormatError, StoreError
from soar.formats.pictures import ImageRange, jpeg
from soar.formats.texts import Spoken
from soar.types import ACTION_DIM, STATE_DIM, Image, Label, Provenance
from soar.untrusted import parse_json

Actions = Literal["commanded", "reached"]
FINAL_ACTION, INSTRUCTIONS = "final_action", "instructions"
"""Keys of an episode's origin: the action at the last observation, and (step, instruction) where there are several."""
_log = logging.getLogger(__name__)
_ROTATION = slice(3, 6)
_BLOCK_PX = 16
_SAME_LEVELS = 12.0
"""Two images whose blocks differ by less (of 255 levels) are one image that a video codec saw twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An episode of a foreign dataset that was found and not read yet.

    Attributes:
        id: What it will be called in the store; the same whenever the dataset is read, so that an import can go on.
        place: File and offset, for messages.
        read: Reads it; raises `FormatError` where it is damaged.
        fingerprint: What changes when the source does, or how it is read (see `soar.episodes.identity`); costs little.
    """

    id: str
    place: str
    read: Callable[[], EncodedEpisode]
    fingerprint: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A foreign dataset: how many episodes it has, and each of them, one after the other."""

    count: int
    episodes: Iterable[Found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsaid:
    """What files do not say, and whoever imports them may know.

    Attributes:
        scene: Name of the scene where the file names none.
        policy: Who acted.
        robot: Name of the robot.
        vlm: The model that proposed the tasks and judged success.
        subgoal_model: The model that generated the subgoals.
        run: A name for all that is imported.
    """

    scene: str = ""
    policy: str = ""
    robot: str = ""
    vlm: str = ""
    subgoal_model: str = ""
    run: str = ""

    def provenance(self, *, policy: str = "", robot: str = "") -> Provenance:
        """Return the provenance of an episode whose file names a policy and a robot, or none."""
        return Provenance(
            policy=policy or self.policy,
            vlm=self.vlm,
            subgoal_model=self.subgoal_model,
            robot=robot or self.robot,
            run=self.run,
        )

    def label(self, success: bool) -> Label:
        """Return the label of a verdict that a file holds."""
        return Label(success=success, probability=None, source=self.vlm or "imported")


def episode_of_steps(
    found: str,
    place: str,
    *,
    images: Sequence[bytes],
    states_ND: NDArray[np.floating],
    actions_ND: NDArray[np.floating],
    actions: Actions = "commanded",
    instructions: Spoken = (),
    image_range: ImageRange | None = None,
    further: Mapping[str, tuple[bytes, ...]] | None = None,
    origin: Mapping[str, Any],
    **known: Any,
) -> EncodedEpisode:
    """Make an episode of N steps.

    Args:
        found: Its id.
        place: File and offset, for messages.
        images: N encoded images; those that are not JPEG are encoded again.
        states_ND: (N, 7).
        actions_ND: (N, 7); the last one goes to `origin`.
        actions: `reached` replaces the motion that was commanded by the one that the next state shows.
        instructions: The first one names the episode; several are kept in `origin`.
        image_range: Of images of more than 8 bits, see `soar.formats.pictures`.
        further: N JPEGs of each further camera, by name.
        origin: What else the file says.
        known: Fields of the `EncodedEpisode`.

    Raises:
        FormatError: The steps are no whole episode; the message says what and where.
    """
    counts = {"images": len(images), "states": len(states_ND), "actions": len(actions_ND)}
    if len(set(counts.values())) != 1 or len(images) < 2:
        raise FormatError(f"{place}: an episode needs as many images as states and actions, and two at least; got {counts}")
    for name, array, dim in (("state", states_ND, STATE_DIM), ("action", actions_ND, ACTION_DIM)):
        if array.shape[1:] != (dim,):
            raise FormatError(f"{place}: a {name} must have {dim} numbers, got shape {array.shape[1:]}")
    states_TD = np.ascontiguousarray(states_ND, np.float32)
    commanded_ND = np.ascontiguousarray(actions_ND, np.float32)
    # Some datasets end with an action that is none. What it led to is not recorded in any.
    final = {FINAL_ACTION: commanded_ND[-1].tolist()} if np.isfinite(commanded_ND[-1]).all() else {}
    several = {INSTRUCTIONS: [list(one) for one in instructions]} if len(instructions) > 1 else {}
    actions_TD = commanded_ND[:-1]
    if actions == "reached":
        actions_TD = actions_TD.copy()
        actions_TD[:, MOTION] = np.diff(states_TD[:, MOTION], axis=0)
        actions_TD[:, _ROTATION] = (actions_TD[:, _ROTATION] + np.pi) % (2 * np.pi) - np.pi
    return EncodedEpisode(
        id=found,
        instruction=instructions[0][1] if instructions else "",
        frames=tuple(jpeg(image, place, image_range) for image in images),
        extra_frames=further or {},
        states_TD=states_TD,
        actions_TD=actions_TD,
        origin={**origin, **several, **final},
        **known,
    )


def check_end(name: str, flags: Sequence[Any], place: str) -> None:
    """Refuse an episode that a flag ends before its last step; one that stays set from some step on is said.

    Args:
        name: Of the flag.
        flags: By step; empty where there is none.
        place: File and offset, for messages.

    Raises:
        FormatError: It is set, and unset afterwards.
    """
    ends = [step for step, flag in enumerate(flags) if flag]
    last = len(flags) - 1
    if ends and ends != list(range(ends[0], last + 1)):
        raise FormatError(
            f"{place}: {name} is set at step {ends[0]}, and the episode goes on to step {last}; are several episodes in one?"
        )
    if len(ends) > 1:
        _log.warning("%s: %s is set from step %d on, to the last, %d; all are kept", place, name, ends[0], last)


def actions_of_steps(encoded: EncodedEpisode) -> NDArray[np.float32]:
    """Return an action for each of the T + 1 observations, as other formats want them.

    The last one is what the file that it was imported from said, or no motion and the gripper as it is.
    """
    last = np.zeros(ACTION_DIM, np.float32)
    last[GRIPPER] = encoded.actions_TD[-1, GRIPPER]
    if FINAL_ACTION in encoded.origin:
        last = np.array(encoded.origin[FINAL_ACTION], np.float32)
    return np.concatenate([np.asarray(encoded.actions_TD, np.float32), last[None]])


def subgoals_of_steps(
    goals: Sequence[bytes], steps: int, place: str, image_range: ImageRange | None = None
) -> tuple[tuple[int, bytes], ...]:
    """Return the subgoals of an episode whose file repeats at each step the one that is pursued.

    Equal bytes are one subgoal. So are images that differ no more than the same image does in two frames of a video.

    Args:
        goals: N encoded images; an empty one is none.
        steps: T; a subgoal that begins later is pursued by no action.
        place: File and offset, for messages.
        image_range: Of images of more than 8 bits.

    Raises:
        FormatError: One is no image.
    """
    found: list[tuple[int, bytes]] = []
    before, shown = b"", None
    for step, goal in enumerate(goals[:steps]):
        if goal == before or not goal:
            continue
        before = goal
        image = jpeg(goal, place, image_range)
        blocks = _blocks(_decoded(image, place))
        if shown is None or blocks.shape != shown.shape or np.abs(blocks - shown).max() > _SAME_LEVELS:
            found.append((step, image))
            shown = blocks
    return tuple(found)


def text_list(text: str) -> Any:
    """Return the JSON in a text of metadata; None where it is cut off after its first line, as in released files."""
    try:
        return parse_json(text)
    except ValueError:
        return None if text.strip() in ("", "[", "{") else text


def _decoded(image: bytes, place: str) -> Image:
    try:
        return frames.decode(image)
    except StoreError as error:
        raise FormatError(f"{place}: a goal of {len(image)} bytes is a damaged JPEG") from error


def _blocks(image_HWC: Image) -> NDArray[np.float32]:
    height, width, channels = image_HWC.shape
    block = min(_BLOCK_PX, height, width)
    rows, columns = height // block, width // block
    cut = image_HWC[: rows * block, : columns * block].astype(np.float32)
    return np.asarray(cut.reshape(rows, block, columns, block, channels).mean((1, 3)), np.float32)
