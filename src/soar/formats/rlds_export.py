"""RLDS in SOAR-Data's own schema, which `tensorflow_datasets.builder_from_directory` loads.

Splits are `success`, `failure` and, for episodes without a verdict, `unlabelled`. `goal` is the subgoal that was being pursued;
in an episode without subgoals it is the last observation, which is what the episode reached.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from soar.episodes import jpeg as frames
from soar.episodes.encoded import EncodedEpisode
from soar.episodes.schema import EpisodeRecord
from soar.episodes.scores import Score
from soar.episodes.store import EpisodeStore
from soar.formats import tfrecord
from soar.formats.exporting import Report, chosen, further_cameras, new_folder, write_card
from soar.formats.own_steps import say_what_was_cut, with_own_steps
from soar.formats.score_columns import DESCRIBED, DESCRIBED_STEPS, any_curve, rlds_scores
from soar.formats.sidecar import SidecarWriter
from soar.formats.steps import actions_of_steps
from soar.types import ACTION_DIM, STATE_DIM

_SHARD_BYTES = 128 * 2**20
_FEATURES = "tensorflow_datasets.core.features"
_TEXTS = {
    "file_path": "Path of the original episode, or its id.",
    "task_list": "Language tasks that are available in the scene.",
    "object_list": "Objects in the scene.",
    "time": "When the episode was recorded.",
    "robot_id": "Robot ID.",
}


def export_rlds(
    store: EpisodeStore,
    out: Path,
    *,
    where: str | None = None,
    name: str = "soar_dataset",
    camera: str = "image_0",
    other_cameras: bool = True,
    version: str = "1.0.0",
    license: str = "cc-by-4.0",
    shard_bytes: int = _SHARD_BYTES,
    scores: Mapping[str, Score] | None = None,
    cut_reflexes: bool = False,
    report: Report | None = None,
) -> Path:
    """Write episodes as an RLDS dataset.

    Args:
        store: The episodes.
        out: Folder of datasets.
        where: SQL that selects some of the episodes.
        name: Of the dataset.
        camera: What the main camera is called; further ones keep their names.
        other_cameras: Write further cameras, too.
        version: Of the dataset.
        license: For the card.
        shard_bytes: About how large a file becomes.
        scores: By episode: features of episodes and steps; episodes without one are left out.
        cut_reflexes: Write of each episode only a stretch without a reflex (`soar.formats.own_steps`).
        report: Is told how far it is.

    Returns:
        `out/name/version`, the folder for `builder_from_directory`.

    Raises:
        StoreError: No episode is selected.
        FormatError: The folder exists already or cannot be written, or episodes differ in their cameras.
    """
    records = chosen(store, where, scores)
    curves = scores is not None and any_curve(scores, records)
    cameras = (camera, *further_cameras(records, camera, wanted=other_cameras))
    folder = out / name / version
    sizes: dict[str, set[tuple[int, int] | None]] = {one: set() for one in cameras}
    splits, own = [], dict(scores or {})
    written = {record.id: record for record in records}
    done = 0
    with new_folder(folder) as aside, closing(SidecarWriter(aside)) as known:
        for split, success in (("success", True), ("failure", False), ("unlabelled", None)):
            shards: list[int] = []
            size = 0
            these = [record for record in records if record.success is success]
            for shard, episodes in _shards(these, store, shard_bytes, further=len(cameras) > 1):
                with (aside / f"{split}-{shard}").open("wb") as file:
                    for number, whole in enumerate(episodes):
                        encoded, more = whole, {}
                        if cut_reflexes:
                            encoded, written[whole.id] = with_own_steps(whole, written[whole.id], own)
                        if scores is not None:
                            more = rlds_scores(own[whole.id], len(encoded.actions_TD), curves=curves)
                        shots = _shots(encoded, cameras)
                        tfrecord.write(file, _example(encoded, shots, success is True, more))
                        # The names of the files are known only when their number is; a file is known by split and shard.
                        known.add(tfrecord.key(split, shard, number), encoded)
                        for one, shot in shots.items():
                            sizes[one].add(frames.size(shot[0]))
                        done += 1
                        if report:
                            report(done, len(records))
                    shards.append(number + 1)
                    size += file.tell()
            for shard in range(len(shards)):
                (aside / f"{split}-{shard}").rename(aside / f"{name}-{split}.tfrecord-{shard:05d}-of-{len(shards):05d}")
            if shards:
                splits.append(
                    {
                        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                        "name": split,
                        "numBytes": str(size),
                        "shardLengths": [str(length) for length in shards],
                    }
                )
        alike = {one: found.pop() if len(found) == 1 else None for one, found in sizes.items()}
        _write_json(aside / "features.json", _features(alike, scored=scores is not None, curves=curves))
        _write_json(
            aside / "dataset_info.json",
            {
                "citation": "",
                "description": f"{len(records)} episodes, exported by SOAR in the schema of SOAR-Data.",
                "fileFormat": "tfrecord",
                "name": name,
                "releaseNotes": {version: "Exported by SOAR."},
                "splits": splits,
                "version": version,
            },
        )
        say_what_was_cut(records, list(written.values()))
        write_card(aside, list(written.values()), name=name, license=license, tags=("rlds",))
    return folder


def _shards(
    records: Sequence[EpisodeRecord], store: EpisodeStore, shard_bytes: int, *, further: bool
) -> Iterator[tuple[int, Iterator[EncodedEpisode]]]:
    """Yield the episodes of one file after the other; a file ends when it is large enough."""
    read = store.read_many([record.id for record in records], further=further)
    left = len(records)

    def episodes() -> Iterator[EncodedEpisode]:
        nonlocal left
        size = 0
        while left and size < shard_bytes:
            encoded = next(read)
            left -= 1
            # Goals are repeated at each step, so an example is about twice as large as its frames.
            size += encoded.bytes + sum(len(jpeg) for jpeg in encoded.frames)
            yield encoded

    shard = 0
    while left:
        yield shard, episodes()
        shard += 1


def _shots(encoded: EncodedEpisode, cameras: Sequence[str]) -> dict[str, tuple[bytes, ...]]:
    """Return the frames of each camera by its name in the dataset; the main one comes first."""
    return {cameras[0]: encoded.frames} | {camera: encoded.extra_frames[camera] for camera in cameras[1:]}


def _example(encoded: EncodedEpisode, shots: Mapping[str, Sequence[bytes]], success: bool, more: Mapping[str, Any]) -> bytes:
    steps = len(encoded.frames)
    numbers = np.arange(steps)
    metadata = encoded.origin.get("metadata", {})
    texts = {name: _text(metadata.get(name)) for name in _TEXTS}
    texts["file_path"] = texts["file_path"] or encoded.id
    texts["robot_id"] = texts["robot_id"] or encoded.provenance.robot
    goals = [encoded.frames[-1]] * steps
    for begin, goal in encoded.subgoals:
        goals[begin:] = [goal] * (steps - begin)
    if encoded.subgoals:
        goals[: encoded.subgoals[0][0]] = [encoded.subgoals[0][1]] * encoded.subgoals[0][0]
    return tfrecord.serialise_example(
        {
            **{f"steps/observation/{camera}": shot for camera, shot in shots.items()},
            "steps/observation/state": np.asarray(encoded.states_TD, np.float32),
            "steps/goal": goals,
            "steps/action": actions_of_steps(encoded),
            "steps/is_first": numbers == 0,
            "steps/is_last": numbers == steps - 1,
            "steps/language_instruction": [encoded.instruction.encode()] * steps,
            "episode_metadata/has_language": np.array([bool(encoded.instruction)]),
            "episode_metadata/success": np.array([success]),
            **{f"episode_metadata/{name}": [text.encode()] for name, text in texts.items()},
            **more,
        }
    )


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _features(sizes: Mapping[str, tuple[int, int] | None], *, scored: bool, curves: bool) -> dict[str, Any]:
    """Return features.json; with scores, and with curves of progress, those too.

    Args:
        sizes: Height and width of each camera's images, the main one's first; None: any.
    """
    main, *further = sizes

    def picture(description: str, camera: str = main) -> dict[str, Any]:
        height, width = sizes[camera] or (-1, -1)
        image = {"shape": {"dimensions": [str(height), str(width), "3"]}, "dtype": "uint8", "encodingFormat": "jpeg"}
        return {"pythonClassName": f"{_FEATURES}.image_feature.Image", "image": image, "description": description}

    def vector(dim: int, description: str) -> dict[str, Any]:
        tensor = {"shape": {"dimensions": [str(dim)]}, "dtype": "float32", "encoding": "none"}
        return {"pythonClassName": f"{_FEATURES}.tensor_feature.Tensor", "tensor": tensor, "description": description}

    def number(description: str) -> dict[str, Any]:
        tensor = {"shape": {}, "dtype": "float32", "encoding": "none"}
        return {"pythonClassName": f"{_FEATURES}.scalar.Scalar", "tensor": tensor, "description": description}

    def flag(description: str) -> dict[str, Any]:
        tensor = {"shape": {}, "dtype": "bool", "encoding": "none"}
        return {"pythonClassName": f"{_FEATURES}.scalar.Scalar", "tensor": tensor, "description": description}

    def text(description: str) -> dict[str, Any]:
        return {"pythonClassName": f"{_FEATURES}.text_feature.Text", "text": {}, "description": description}

    def group(**features: Any) -> dict[str, Any]:
        return {"pythonClassName": f"{_FEATURES}.features_dict.FeaturesDict", "featuresDict": {"features": features}}

    steps = group(
        observation=group(
            **{main: picture("Main camera RGB observation (fixed position).")},
            **{camera: picture("Further camera RGB observation.", camera) for camera in further},
            state=vector(STATE_DIM, "End effector: x y z [m], roll pitch yaw [rad], gripper opening 0..1."),
        ),
        goal=picture("The subgoal that is being pursued."),
        action=vector(ACTION_DIM, "Delta x y z [m], delta roll pitch yaw [rad], gripper target (1 open, 0 closed)."),
        is_first=flag("True on the first step of the episode."),
        is_last=flag("True on the last step of the episode."),
        language_instruction=text("Language instruction."),
        **{name: number(description) for name, description in DESCRIBED_STEPS.items() if curves},
    )
    metadata = {name: text(description) for name, description in _TEXTS.items()}
    metadata["has_language"] = flag("Whether there is a language instruction.")
    metadata["success"] = flag("Whether the episode was judged successful.")
    metadata |= {name: number(description) for name, description in DESCRIBED.items() if scored}
    return group(
        steps={
            "pythonClassName": f"{_FEATURES}.dataset_feature.Dataset",
            "sequence": {"feature": steps, "length": "-1"},
        },
        episode_metadata=group(**metadata),
    )


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=4) + "\n", encoding="utf-8")
