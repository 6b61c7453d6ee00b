"""What is in a record of RLDS: vectors, texts and flags by name, and what there is instead where one is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.errors import FormatError
from soar.formats import tfrecord
from soar.formats.steps import check_end
from soar.formats.texts import Spoken, spoken, text_of, verdict_of
from soar.formats.vector_maps import EULER, EXAMPLE, POSITION, QUATERNION, VECTOR

Features = Mapping[str, tfrecord.Values]
STATE, ACTION = "steps/observation/state", "steps/action"
OBSERVATION, METADATA = "steps/observation/", "episode_metadata/"
_LANGUAGE = (
    "steps/language_instruction",
    "steps/natural_language_instruction",
    "steps/observation/natural_language_instruction",
    "steps/observation/language_instruction",
    "episode_metadata/language_instruction",
)
"""Where the first one that is there holds the instruction."""
WITHIN = {STATE: OBSERVATION, ACTION: ACTION + "/"}
"""Where the parts of a state and of an action are, if they are apart."""
FLAGS = {STATE: "--state-map", ACTION: "--action-map"}
_PARTS: tuple[tuple[tuple[str, ...], dict[int, tuple[str, ...]]], ...] = (
    (("world_vector", "translation", "position", "xyz"), {3: POSITION}),
    (("rotation", "orientation", "euler", "rpy", "quat"), {3: EULER, 4: QUATERNION}),
    (("gripper", "grasp"), {1: ("gripper",)}),
)
"""How datasets call the parts, and how many numbers each has."""
_IMAGES = (b"\xff\xd8", b"\x89PNG")
_PER_STEP = ("steps/goal", "steps/is_first", "steps/is_last", "steps/is_terminal", "steps/reward", "steps/discount")


def camera_images(features: Features, camera: str, place: str) -> list[bytes]:
    """Return the encoded images of a camera.

    Raises:
        FormatError: There is no such camera, or a flag says that its images are none.
    """
    name = OBSERVATION + camera
    if name not in features:
        there = sorted(key.removeprefix(OBSERVATION) for key in features if key.startswith(OBSERVATION))
        cameras = cameras_in(features)
        raise FormatError(
            f"{place}: no {name}; below {OBSERVATION} there is {', '.join(there) or 'nothing'}"
            + (f". Pictures are in {', '.join(cameras)}: --camera {cameras[0]}" if cameras else "")
        )
    if flag := _denial(features, camera, place):
        others = [other for other in cameras_in(features) if not _denial(features, other, place)]
        raise FormatError(
            f"{place}: {flag}: there was no camera {camera}, and what {name} holds are no pictures. "
            + (f"This episode has pictures of {', '.join(others)}: --camera {others[0]}" if others else "It has no pictures")
        )
    return as_bytes(features[name])


def other_cameras(features: Features, camera: str, place: str) -> list[str]:
    """Return the names of the cameras of an episode besides one of them; those that a flag denies are left out."""
    return [other for other in cameras_in(features) if other != camera and not _denial(features, other, place)]


def cameras_in(features: Features) -> list[str]:
    """Return the names of what holds JPEGs or PNGs."""
    return [
        key.removeprefix(OBSERVATION)
        for key, values in sorted(features.items())
        if key.startswith(OBSERVATION) and as_bytes(values)[:1] and as_bytes(values)[0].startswith(_IMAGES)
    ]


def _denial(features: Features, camera: str, place: str) -> str:
    """Return what says that an episode has no pictures of a camera; an empty text where nothing does."""
    for flag in (f"{METADATA}has_{camera}", f"{OBSERVATION}has_{camera}", f"steps/has_{camera}"):
        for step, value in enumerate(_values(features.get(flag, ()))):
            if verdict_of(value, f"{place}, {flag}") is False:
                return f"{flag} is 0" + ("" if flag.startswith(METADATA) else f" at step {step}")
    return ""


def vectors(features: Features, name: str, dim: int, steps: int, place: str) -> NDArray[np.float32]:
    """Return `dim` numbers a step.

    Raises:
        FormatError: There are none of that name, or other numbers; the message lists what is there.
    """
    values = features.get(name)
    if not isinstance(values, np.ndarray) or values.dtype != np.float32:
        found = "it holds " + kind(values, steps) if name in features else listed(features, name, steps)
        raise FormatError(
            f"{place}: no {name} of floats, {found}; this is not an RLDS dataset with states and actions of a robot arm"
            f"{_hint(features, name, steps)}"
        )
    each = values.size // steps if steps and values.size % steps == 0 else dim
    if each != dim:
        raise FormatError(
            f"{place}: {name} has {each} numbers a step, {dim} are needed ({' '.join(VECTOR)})"
            f"{_hint(features, name, steps) or f'. Say which is which, for example {FLAGS[name]} {EXAMPLE}'}"
        )
    if values.size % dim:
        raise FormatError(
            f"{place}: {name} has {values.size} numbers, which is no multiple of {dim}; its vectors have another size"
        )
    return values.reshape(-1, dim).astype(np.float32)


def fitting_map(features: Features, name: str, steps: int) -> str:
    """Return a map of what is below an action's name, or beside a state's; empty where it is not clear which is which."""
    prefix = WITHIN[name]
    counts = {
        key.removeprefix(prefix): len(values) // steps
        for key, values in sorted(features.items())
        if key.startswith(prefix) and key != name and isinstance(values, np.ndarray) and steps and len(values) % steps == 0
    }
    parts = []
    for words, targets in _PARTS:
        found = [key for key, count in counts.items() if count in targets and any(word in key.lower() for word in words)]
        if len(found) != 1:
            return ""
        key = found[0]
        turned = "clos" in key.lower()
        parts += [f"{target}={'-' * turned}{key}[{n}]{'+1' * turned}" for n, target in enumerate(targets[counts[key]])]
    return ",".join(parts)


def _hint(features: Features, name: str, steps: int) -> str:
    found = fitting_map(features, name, steps)
    return f". If these are its parts: {FLAGS[name]} {found}" if found else ""


def listed(features: Features, name: str, steps: int) -> str:
    """Return what there is where something is missing: below its name, as in a dictionary of actions, else beside it."""
    for prefix in (name + "/", name.rpartition("/")[0] + "/"):
        there = [
            f"{key.removeprefix(prefix)} ({kind(features[key], steps)})" for key in sorted(features) if key.startswith(prefix)
        ]
        if there:
            return f"below {prefix} there is {', '.join(there)}"
    return "nor anything like it"


def kind(values: tfrecord.Values | Sequence[bytes] | None, steps: int) -> str:
    """Return what a feature holds, by step."""
    count = 0 if values is None else len(values)
    name = "nothing" if not count else values.dtype.name if isinstance(values, np.ndarray) else "bytes"
    whole = steps and count % steps == 0 and count
    return f"{count // steps} x {name} a step" if whole else f"{count} x {name}"


def check_steps(features: Features, steps: int, place: str) -> None:
    """Refuse a record whose flags say that its steps are not those of one episode, in order, or are not as many as its images.

    Raises:
        FormatError: So it is.
    """
    for name in _PER_STEP:
        count = len(features.get(name, ()))
        if count not in (0, steps):
            raise FormatError(f"{place}: {name} has {count} values, and there are {steps} images; a step has one of each")
    check_end("steps/is_terminal", np.asarray(features.get("steps/is_terminal", ()), np.int64).tolist(), place)
    for name, right in (("is_first", 0), ("is_last", steps - 1)):
        flags = features.get(f"steps/{name}", ())
        wrong = [step for step in np.flatnonzero(np.asarray(flags, np.int64)).tolist() if step != right]
        if wrong:
            raise FormatError(f"{place}: {name} is set at step {wrong[0]} of {steps}; its steps are not in order")


def instructions(features: Features, steps: int, place: str) -> Spoken:
    """Return the instructions, with the step at which each begins; none where the record says that it has none.

    Raises:
        FormatError: A text is damaged, or there are neither as many as steps nor one.
    """
    flags = [
        verdict_of(value, f"{place}, {METADATA}has_language") for value in _values(features.get(METADATA + "has_language", ()))
    ]
    if flags and not any(flag is not False for flag in flags):
        return ()
    for name in _LANGUAGE:
        found = features.get(name, ())
        written = as_bytes(found)
        if len(written) != len(found):
            raise FormatError(f"{place}: {name} holds {kind(found, steps)}, and no texts")
        meant = {text: text_of(text, f"{place}, {name}") for text in set(written)}
        texts = [meant[text] for text in written]
        if len(texts) not in (0, 1, steps):
            raise FormatError(f"{place}: {name} has {len(texts)} texts, and there are {steps} images; a step has one of each")
        if any(texts):
            return spoken(texts)
    return ()


def other_wordings(features: Features, chosen: Spoken, place: str) -> list[str]:
    """Return what else the record calls the task: `steps/language_instruction_2` and so on."""
    names = sorted(name for name in features if any(name.startswith(f"{key}_") for key in _LANGUAGE))
    texts = [text_of(text, f"{place}, {name}") for name in names for text in as_bytes(features[name])]
    return [text for text in dict.fromkeys(texts) if text and text not in {known for _, known in chosen}]


def metadata(features: Features) -> dict[str, Any]:
    """Return the metadata of the episode as JSON has it."""
    return {name.removeprefix(METADATA): _plain(values) for name, values in features.items() if name.startswith(METADATA)}


def as_bytes(values: tfrecord.Values | Sequence[bytes]) -> list[bytes]:
    """Return the texts or images of a feature."""
    return [value for value in values if isinstance(value, bytes)]


def _plain(values: tfrecord.Values) -> Any:
    """Return one value of metadata; None where there is none."""
    found = [value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value for value in _values(values)]
    return (found or [None])[0] if len(found) < 2 else found


def _values(values: tfrecord.Values | Sequence[bytes]) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)
