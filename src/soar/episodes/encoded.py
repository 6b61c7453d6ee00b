"""An episode as a store holds it: the frames are JPEGs. What is copied, imported or exported need not be decoded on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.cameras import check_camera_names
from soar.episodes import jpeg as frames
from soar.errors import ConfigError, StoreError
from soar.types import ACTION_DIM, STATE_DIM, Episode, Label, Provenance, Subgoal


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedEpisode:
    """T actions and T + 1 observations, with encoded images; see `soar.types.Episode` for what has the same name there.

    Attributes:
        id: Unique in a store.
        scene: Name of the scene.
        instruction: The task's language command; empty when there is none.
        frames: T + 1 JPEGs of one size.
        states_TD: (T + 1, 7) float32.
        actions_TD: (T, 7) float32.
        subgoals: (step of the first action towards it, JPEG), steps increasing.
        labels: Judgements of success, oldest first.
        provenance: Who made it.
        origin: What the dataset that it was imported from knew, and SOAR has no word for; JSON-able. `final_action` is the
            action that was commanded at the last observation, and whose outcome nobody recorded.
        reflex_steps: Steps whose action was a reflex's.
        limited_steps: Steps whose action the safety shell had to change; None: unknown.
        created_s: When it was first stored, in seconds since the Unix epoch; None for now.
        extra_frames: T + 1 JPEGs of each further camera by its name (`soar.cameras`), of one size each.
    """

    id: str
    scene: str
    instruction: str
    frames: tuple[bytes, ...]
    states_TD: NDArray[np.float32]
    actions_TD: NDArray[np.float32]
    subgoals: tuple[tuple[int, bytes], ...] = ()
    labels: tuple[Label, ...] = ()
    provenance: Provenance = field(default_factory=lambda: Provenance(policy=""))
    origin: Mapping[str, Any] = field(default_factory=dict)
    created_s: float | None = None
    reflex_steps: tuple[int, ...] = ()
    limited_steps: tuple[int, ...] | None = None
    extra_frames: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """What its frames take."""
        return sum(sum(map(len, jpegs)) for jpegs in (self.frames, *self.extra_frames.values()))


def encode(episode: Episode) -> EncodedEpisode:
    """Encode the images of an episode.

    Raises:
        StoreError: They are not uint8 RGB.
    """
    further = episode.extra_images
    images = [episode.images_THWC, *further.values(), *(goal.image_HWC[None] for goal in episode.subgoals)]
    if any(image.dtype != np.uint8 or image.ndim != 4 or image.shape[-1] != 3 for image in images):
        raise StoreError(
            f"episode {episode.id!r}: images must be uint8 RGB of shape (height, width, 3), got "
            + ", ".join(sorted({f"{image.dtype} {image.shape[1:]}" for image in images}))
        )
    return EncodedEpisode(
        id=episode.id,
        scene=episode.scene,
        instruction=episode.instruction,
        frames=tuple(frames.encode_all(episode.images_THWC)),
        states_TD=episode.states_TD,
        actions_TD=episode.actions_TD,
        subgoals=tuple((goal.step, frames.encode(goal.image_HWC)) for goal in episode.subgoals),
        labels=episode.labels,
        provenance=episode.provenance,
        reflex_steps=episode.reflex_steps,
        limited_steps=episode.limited_steps,
        extra_frames={camera: tuple(frames.encode_all(images_THWC)) for camera, images_THWC in further.items()},
    )


def decode(encoded: EncodedEpisode) -> Episode:
    """Decode the images of an episode.

    Raises:
        StoreError: A frame is not a JPEG.
    """
    return Episode(
        id=encoded.id,
        scene=encoded.scene,
        instruction=encoded.instruction,
        images_THWC=frames.decode_all(encoded.frames),
        states_TD=encoded.states_TD,
        actions_TD=encoded.actions_TD,
        subgoals=tuple(Subgoal(step=step, image_HWC=frames.decode(jpeg)) for step, jpeg in encoded.subgoals),
        labels=encoded.labels,
        provenance=encoded.provenance,
        reflex_steps=encoded.reflex_steps,
        limited_steps=encoded.limited_steps,
        extra_images={camera: frames.decode_all(jpegs) for camera, jpegs in encoded.extra_frames.items()},
    )


def check(encoded: EncodedEpisode) -> None:
    """Refuse an episode whose content is not what the vocabulary says. No image is decoded; headers are read.

    Raises:
        StoreError: A shape, type or count is wrong, the instruction is no text, a number is not finite, a frame is not a JPEG
            or of another size, or the subgoals, the steps of reflexes or limited ones are not in order; the message names
            the array and the step.
    """
    where = f"episode {encoded.id!r}"
    if not encoded.id:
        raise StoreError("an episode has no id; give each episode an id that is unique in the store, for example RUN-SEED")
    if "\0" in encoded.id:
        raise StoreError(f"{where}: an id is a text without NUL")
    if not isinstance(encoded.instruction, str) or "\0" in encoded.instruction:
        raise StoreError(f"{where}: the instruction must be a text without NUL, empty for none; it is {encoded.instruction!r}")
    if len(encoded.actions_TD) == 0:
        raise StoreError(f"{where} has no actions; an episode needs at least one action and two observations")
    for name, array, dim in (("states", encoded.states_TD, STATE_DIM), ("actions", encoded.actions_TD, ACTION_DIM)):
        if array.ndim != 2 or array.shape[1] != dim:
            raise StoreError(f"{where}: {name} must have shape (steps, {dim}), got {array.shape}")
        finite = np.isfinite(array).all(1)
        if not finite.all():
            raise StoreError(f"{where}: {name} are not finite at step {int(np.argmin(finite))}; drop or repair the episode")
    steps = len(encoded.actions_TD)
    if (len(encoded.frames), len(encoded.states_TD)) != (steps + 1, steps + 1):
        raise StoreError(
            f"{where}: {steps} actions need {steps + 1} frames and states, "
            f"got {len(encoded.frames)} and {len(encoded.states_TD)}"
        )
    _check_frames(encoded.frames, where)
    try:
        check_camera_names(encoded.extra_frames, where)
    except ConfigError as error:
        raise StoreError(str(error)) from error
    for camera, jpegs in encoded.extra_frames.items():
        if len(jpegs) != steps + 1:
            raise StoreError(f"{where}: {steps} actions need {steps + 1} frames of camera {camera}, got {len(jpegs)}")
        _check_frames(jpegs, f"{where}, camera {camera}")
    _check_subgoals(encoded, steps)


def _check_frames(jpegs: Sequence[bytes], where: str) -> None:
    size = None
    for step, jpeg in enumerate(jpegs):
        found = frames.size(jpeg)
        if found is None:
            raise StoreError(f"{where}: the frame of step {step} is not a JPEG ({len(jpeg)} bytes); drop or repair the episode")
        size = size or found
        if found != size:
            raise StoreError(f"{where}: the frame of step {step} has another size, {found}, than the first, {size}")


def _check_subgoals(encoded: EncodedEpisode, steps: int) -> None:
    where = f"episode {encoded.id!r}"
    before = -1
    for number, (step, jpeg) in enumerate(encoded.subgoals):
        if frames.size(jpeg) is None:
            raise StoreError(f"{where}: the image of subgoal {number} is not a JPEG ({len(jpeg)} bytes)")
        if not before < step < steps:
            raise StoreError(
                f"{where}: subgoal {number} begins at step {step}; steps of subgoals increase and lie in 0..{steps - 1}"
            )
        before = step
    _check_marked(encoded.reflex_steps, "steps of reflexes", encoded)
    _check_marked(encoded.limited_steps or (), "limited steps", encoded)


def _check_marked(marked: tuple[int, ...], what: str, encoded: EncodedEpisode) -> None:
    steps = len(encoded.actions_TD)
    if any(not low < high for low, high in zip((-1, *marked), (*marked, steps), strict=True)):
        raise StoreError(f"episode {encoded.id!r}: {what} increase and lie in 0..{steps - 1}, got {list(marked)}")
