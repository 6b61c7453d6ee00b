"""Raw trajectory folders, as the released collection code leaves them on a robot's disk.

```
…/trajN/                                                                    either layout
robot/scene/policy/date/{success,failure}/trajectory_N/

actions.npy (N, 7)   eef_poses.npy (N, 7), before the action   trajectory.mp4   goals.mp4, the goal of each step
language_task.txt (or language_text.txt)   success.txt   object_list.txt, task_list.txt (JSON)   time.txt   robot_id.txt
```

All but the arrays and the video of the trajectory may be missing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.episodes import jpeg as frames
from soar.episodes.encoded import EncodedEpisode
from soar.errors import FormatError
from soar.formats.fingerprints import fingerprint, of_file
from soar.formats.gripper_range import Grippers
from soar.formats.pictures import ImageRange, check_range
from soar.formats.steps import Actions, Dataset, Found, Unsaid, episode_of_steps, subgoals_of_steps, text_list
from soar.formats.texts import agreed_verdict, folder_verdict, read_text, spoken, text_of, verdict_of
from soar.formats.vector_maps import EXAMPLE, PLAIN, VECTOR, VectorConfig, VectorMap, parse_map
from soar.formats.vector_survey import Measured, survey_vectors
from soar.formats.video import read_frames

_FILES = (
    *("actions.npy", "eef_poses.npy", "trajectory.mp4", "goals.mp4", "language_task.txt", "language_text.txt", "success.txt"),
    *("task_list.txt", "object_list.txt", "time.txt", "robot_id.txt"),
)
"""All that is read of a trajectory."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawConfig:
    """How raw folders are read.

    Attributes:
        actions: `reached` replaces the commanded motions by those that the next pose shows.
        vectors: What the numbers of poses and actions are, where that is not clear.
        image_range: What becomes black and white in frames of more than 8 bits; they are refused without.
        unsaid: What the files do not say.
    """

    actions: Actions = "commanded"
    vectors: VectorConfig = field(default_factory=VectorConfig)
    image_range: ImageRange | None = None
    unsaid: Unsaid = field(default_factory=Unsaid)

    def __post_init__(self) -> None:
        check_range(self.image_range)


def open_raw(folder: Path, config: RawConfig) -> Dataset:
    """Find the trajectories below a folder, in the order of their numbers.

    The poses and actions of all of them are read once, to know what the gripper's numbers mean.

    Raises:
        FormatError: There are none, or it is not clear what the gripper's numbers mean.
        ConfigError: A map or a range is none.
    """
    found = sorted({path.parent for path in folder.rglob("actions.npy")}, key=_natural) if folder.is_dir() else []
    if not found:
        raise FormatError(f"no trajectory (a folder with actions.npy) at or below {folder}; pass the folder that holds them")

    measured = _measured(found, config.vectors)
    grippers, notes = survey_vectors(measured, config.vectors, actions=config.actions, place=str(folder))
    for note in notes:
        _log.warning("%s", note)

    def episodes() -> Iterator[Found]:
        for path in found:
            relative = path.relative_to(folder).as_posix()
            id = f"{folder.resolve().name}/{relative}" if relative != "." else folder.resolve().name
            yield Found(
                id=id,
                place=str(path),
                read=partial(_read, path, id, config, grippers),
                fingerprint=partial(_fingerprint, path, config),
            )

    return Dataset(count=len(found), episodes=episodes())


def _read(path: Path, id: str, config: RawConfig, grippers: Grippers) -> EncodedEpisode:
    images = _video(path / "trajectory.mp4", config)
    goals = _video(path / "goals.mp4", config) if (path / "goals.mp4").exists() else []
    if goals and len(goals) != len(images):
        _log.warning(
            "%s: goals.mp4 has %d frames, and trajectory.mp4 %d; each is taken for its step", path, len(goals), len(images)
        )
    written = verdict_of(_text(path / "success.txt"), str(path / "success.txt"))
    success = agreed_verdict({"success.txt": written, "the folder": folder_verdict(path.resolve().parent.name)}, str(path))
    texts = list(filter(None, (_text(path / f"{name}.txt") for name in ("language_task", "language_text"))))
    others = [text for text in texts[1:] if text != texts[0]]
    metadata = {name: _text(path / f"{name}.txt") for name in ("task_list", "object_list", "time", "robot_id")}
    lists = {name: text_list(metadata[name] or "") for name in ("task_list", "object_list")}
    parts = path.resolve().parts
    sorted_by_success = parts[-2] in ("success", "failure") and len(parts) > 6
    robot, scene, policy = parts[-6:-3] if sorted_by_success else ("", "", "")
    (state_map, states_ND), (action_map, actions_ND) = _arrays(path, config.vectors)
    states_ND, actions_ND = grippers(
        state_map(states_ND, str(path / "eef_poses.npy")), action_map(actions_ND, str(path / "actions.npy"))
    )
    return episode_of_steps(
        id,
        str(path),
        images=images,
        states_ND=states_ND,
        actions_ND=actions_ND,
        actions=config.actions,
        origin={"format": "raw", "metadata": metadata | lists, **({"other_wordings": others} if others else {})},
        scene=scene or config.unsaid.scene,
        instructions=spoken(texts[:1]),
        subgoals=subgoals_of_steps(goals, len(images) - 1, str(path / "goals.mp4")),
        labels=() if success is None else (config.unsaid.label(success),),
        provenance=config.unsaid.provenance(policy=policy, robot=metadata["robot_id"] or robot),
    )


def _fingerprint(path: Path, config: RawConfig) -> str:
    return fingerprint(replace(config, unsaid=Unsaid()), *(of_file(path / name) for name in _FILES))


def _measured(paths: Sequence[Path], config: VectorConfig) -> Iterator[Measured]:
    for path in paths:
        try:
            (state_map, states_ND), (action_map, actions_ND) = _arrays(path, config)
        except FormatError:
            # What is wrong with it is said when it is read.
            continue
        yield state_map.measured(states_ND), action_map.measured(actions_ND)


def _arrays(path: Path, config: VectorConfig) -> list[tuple[VectorMap, NDArray[np.floating[Any]]]]:
    """Return the poses and the actions of a trajectory, each with the map that it is read by."""
    found = []
    for name, text, flag in (("eef_poses", config.state_map, "--state-map"), ("actions", config.action_map, "--action-map")):
        array = _array(path / f"{name}.npy")
        if not text and array.shape[1] != PLAIN.count:
            raise FormatError(
                f"{path / name}.npy must hold {PLAIN.count} numbers a step ({' '.join(VECTOR)}), it holds {array.shape[1]}; "
                f"say which is which, for example {flag} {EXAMPLE}"
            )
        found.append((parse_map(text, [""] * array.shape[1], flag=flag) if text else PLAIN, array))
    return found


def _video(path: Path, config: RawConfig) -> list[bytes]:
    images = read_frames(path, config.image_range)
    if not images:
        raise FormatError(f"{path} has no frames; restore the file")
    return frames.encode_all(np.stack(images))


def _array(path: Path) -> NDArray[np.floating[Any]]:
    try:
        with path.open("rb") as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot read {path}: {error}") from error
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise FormatError(f"{path} must hold numbers of shape (steps, 7), it holds {array.dtype} {array.shape}")
    return array


def _text(path: Path) -> str | None:
    """Return the content of a text file, None where there is none."""
    try:
        return text_of(read_text(path), str(path)) or None
    except FileNotFoundError:
        return None


def _natural(path: Path) -> tuple[str, int, str]:
    """Order traj2 before traj10."""
    digits = "".join(letter for letter in path.name if letter.isdigit())
    return path.parent.as_posix(), int(digits or 0), path.name
