"""The base models, from nothing: record, then train, stage by stage.

    demonstrations      successful ones on pre-training tables      → DATA/demonstrations/episodes
    pictures            anything, mistakes included, with answers   → DATA/pictures/episodes, DATA/pictures/worlds
    policy              from the demonstrations                     → DATA/models/policy,  WEIGHTS/policy
    language            the same, but it follows instructions       → DATA/models/language, WEIGHTS/language
    both                the same, but it takes goals of both kinds  → DATA/models/both,    WEIGHTS/both
    subgoal             from the pictures                           → DATA/models/subgoal, WEIGHTS/subgoal
    corrections         attempts of these two, with answers         → more of DATA/pictures
    subgoal_correction  the subgoal model, from all pictures        → DATA/models/subgoal_correction, WEIGHTS/subgoal
    vqa                 from the pictures and answers               → DATA/models/vqa,     WEIGHTS/vqa

Each stage resumes, and is skipped once it is finished. `DATA/manifest.json` says what each one made and saw, and for how long.
With torchrun the processes train together (`soar.training.distributed`); the first of them records.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from soar.datasets import action_statistics, load_arrays, train_validation_split
from soar.datasets.image_cache import StoredImages
from soar.episodes import EpisodeStore
from soar.errors import ConfigError, SoarError, StoreError
from soar.files import write_json
from soar.images import ImageFitter
from soar.nn.model_files import copy_model
from soar.policies.lineage import Lineage, git_revision
from soar.pretraining.config import PretrainingConfig
from soar.pretraining.expert_corrections import IMAGINED
from soar.pretraining.recording import looks_and_objects, record
from soar.progress import Progress
from soar.training.config import PolicyTrainingConfig
from soar.training.data import co_training_mixture, make_sampler
from soar.training.distributed import current_group
from soar.training.flow_subgoals import SubgoalTrainingConfig, train_subgoal_model
from soar.training.policy import train_policy
from soar.training.vqa import train_vqa
from soar.untrusted import parse_json

Stage = Literal[
    "demonstrations", "pictures", "policy", "language", "both", "subgoal", "corrections", "subgoal_correction", "vqa"
]
STAGES: tuple[Stage, ...] = get_args(Stage)
SHIPPED: tuple[Stage, ...] = tuple(stage for stage in STAGES if stage != "both")
"""The stages of the models that come with SOAR."""


def pretrain(
    config: PretrainingConfig,
    data: Path,
    weights: Path,
    *,
    stages: Sequence[Stage] = SHIPPED,
    workers: int = 2,
    demonstrations: str = "demonstrations",
    pictures: str = "pictures",
    corrections: str = "corrections",
    initial: Path | None = None,
    device: str = "cpu",
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Run the stages that are not finished, in their order.

    Args:
        config: How much of everything.
        data: Where recordings, training runs and the manifest go.
        weights: Where the finished models go.
        stages: Which ones; those of the models that come with SOAR by default.
        workers: Processes that record.
        demonstrations: Configuration of the demonstrations, see `soar.pretraining.recording.record`.
        pictures: Configuration of the pictures.
        corrections: Configuration of the attempts of the models that were made so far.
        initial: Folder of earlier models (policy, language, both, subgoal, vqa) that the training continues from; fresh
            networks by default.
        device: Of torch.
        on_progress: Called as the work goes on.

    Returns:
        The manifest.

    Raises:
        StoreError: A stage needs recordings that were not made.
        ConfigError: A folder holds a training run of another configuration, or a stage lacks a sentence encoder.
        SoarError: A folder cannot be written; what was finished is kept.
    """
    if "both" in stages and not config.sentences:
        raise ConfigError(
            "stage both trains a policy that takes instructions: name its sentence encoder in the preset, such as "
            "`pretraining.sentences: hashed-words`"
        )
    path = data / "manifest.json"
    group = current_group()
    recordings = {
        "demonstrations": _Recording(
            data / "demonstrations", demonstrations, config.demonstration_worlds, config.demonstration_seed
        ),
        "pictures": _Recording(data / "pictures", pictures, config.picture_worlds, config.picture_seed),
        "corrections": _Recording(data / "pictures", corrections, config.correction_worlds, config.correction_seed),
    }

    def tell(stage: str) -> Callable[[int, int, dict[str, float]], None]:
        def on_step(done: int, total: int, metrics: dict[str, float]) -> None:
            if on_progress is not None:
                on_progress(stage, done, total, f"loss {metrics['loss']:.3f}" if "loss" in metrics else "")

        return on_step

    for stage in STAGES:
        corrects = stage in ("corrections", "subgoal_correction")
        left_out = not config.sentences if stage in ("language", "both") else corrects and not config.correction_worlds
        if stage not in stages or left_out:
            continue
        recording = recordings.get(stage)
        recipe: dict[str, Any] = (
            {"worlds": recording.worlds, "seed": recording.seed} if recording else _plain(getattr(config, stage))
        )
        if not recording and initial is not None and stage != "subgoal_correction":
            recipe["initial"] = str(initial)
        if _read(path).get(stage, {}).get("recipe") == recipe:
            continue
        begun = time.monotonic()
        if recording:
            if group.leads:
                record(
                    recording.kind,
                    recording.folder,
                    worlds=recording.worlds,
                    seed=recording.seed,
                    workers=workers,
                    student=(str(weights / "policy"), str(data / "models" / "subgoal")) if stage == "corrections" else None,
                    on_world=lambda done, total, stage=stage: on_progress(stage, done, total) if on_progress else None,  # type: ignore[misc]
                )
            group.wait()
            made = _recorded(recording)
        else:
            folder = data / "models" / stage
            parent = data / "models" / "subgoal" if stage == "subgoal_correction" else initial / stage if initial else None
            job = _Job(config=config, data=data, folder=folder, initial=parent, device=device, on_step=tell(stage))
            made = {
                "policy": _policy,
                "language": _language,
                "both": _both,
                "subgoal": _subgoal,
                "subgoal_correction": _subgoal_correction,
                "vqa": _vqa,
            }[stage](job)
            if group.leads:
                copy_model(folder, weights / ("subgoal" if stage == "subgoal_correction" else stage))
        seconds = round(time.monotonic() - begun, 1)
        # Read again: other stages may have been finished meanwhile, by the same command elsewhere.
        finished = {stage: {**made, "seconds": seconds, "recipe": recipe}, "revision": git_revision()}
        if group.leads:
            write_json(path, _read(path) | finished)
        group.wait()
    return _read(path)


@dataclass(frozen=True, slots=True)
class _Recording:
    """What a stage records: worlds 0 to `worlds` - 1 of a seed, as a kind of demonstrations."""

    folder: Path
    kind: str
    worlds: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What a training stage needs: the recipe, the recordings, where the model goes, what it continues from."""

    config: PretrainingConfig
    data: Path
    folder: Path
    initial: Path | None
    device: str
    on_step: Callable[[int, int, dict[str, float]], None]


def _recorded(recording: _Recording) -> dict[str, Any]:
    folder, kind, worlds, seed = recording.folder, recording.kind, recording.worlds, recording.seed
    records = EpisodeStore(folder / "episodes").episodes(f"instruction <> '' AND scene LIKE 'world-{seed}-%'")
    answers = (folder / "worlds").glob(f"{seed}-*.parquet")
    made = {
        "worlds": worlds,
        "seed": seed,
        "episodes": len(records),
        "transitions": sum(record.length for record in records),
        "successes": sum(record.simulator_success is True for record in records),
        "answers": sum(pq.read_metadata(path).num_rows for path in answers),
    }
    return made | looks_and_objects(kind, worlds=worlds, seed=seed)


def _policy(job: _Job) -> dict[str, Any]:
    return _train_policy(job, job.config.policy)


def _language(job: _Job) -> dict[str, Any]:
    return _train_policy(job, job.config.language)


def _both(job: _Job) -> dict[str, Any]:
    return _train_policy(job, job.config.both)


def _train_policy(job: _Job, config: PolicyTrainingConfig) -> dict[str, Any]:
    store = EpisodeStore(job.data / "demonstrations" / "episodes")
    fitter = config.network.fitter
    arrays = load_arrays(store, subgoals=config.pretraining.imagined_goals > 0, fitter=fitter)
    training, validation = train_validation_split(arrays, job.config.validation_share, config.fit.seed)
    episodes, frames = len(arrays.lengths_E), len(arrays.states_ND)
    del arrays  # the split is a copy
    train_policy(
        config,
        co_training_mixture(make_sampler(training, config.pretraining), None, fitter=fitter),
        action_statistics(training),
        job.folder,
        validation=co_training_mixture(make_sampler(validation, config.pretraining), None, fitter=fitter),
        initial=job.initial,
        lineage=Lineage(data={"demonstrations": store.version}, revision=git_revision()),
        on_step=job.on_step,
        device=job.device,
    )
    return {"episodes": episodes, "frames": frames, "samples": config.fit.steps * config.fit.batch_size}


def _subgoal(job: _Job) -> dict[str, Any]:
    return _train_subgoal(job, job.config.subgoal)


def _subgoal_correction(job: _Job) -> dict[str, Any]:
    return _train_subgoal(job, job.config.subgoal_correction)


def _train_subgoal(job: _Job, config: SubgoalTrainingConfig) -> dict[str, Any]:
    store = EpisodeStore(job.data / "pictures" / "episodes")
    # A failed attempt shows what should not be imagined.
    fitter = ImageFitter(size=config.network.image_size)
    arrays = load_arrays(store, f"simulator_success OR policy = '{IMAGINED}'", fitter=fitter)
    scenes = {record.id: record.scene for record in store.episodes()}
    _, groups_E = np.unique(np.array([scenes[id] for id in arrays.ids]), return_inverse=True)
    metrics = train_subgoal_model(
        config,
        arrays,
        job.folder,
        groups_E=groups_E.astype(np.int64),
        initial=job.initial,
        lineage=_lineage(store, job.initial),
        on_step=job.on_step,
        device=job.device,
    )
    samples = config.fit.steps * config.fit.batch_size
    return {"episodes": len(arrays.lengths_E), "frames": len(arrays.states_ND), "samples": samples, "metrics": metrics}


def _vqa(job: _Job) -> dict[str, Any]:
    config = job.config.vqa
    store = EpisodeStore(job.data / "pictures" / "episodes")
    files = sorted((job.data / "pictures" / "worlds").glob("*.parquet"))
    answers = pa.concat_tables([pq.read_table(path) for path in files]) if files else pa.table({})
    if not answers.num_rows:
        raise StoreError(f"{job.data / 'pictures' / 'worlds'} holds no answers; run `soar pretrain --stages pictures` first")
    records = {record.id: record for record in store.episodes()}
    # A world whose recording was cut off and begun again can have answered about episodes that were then left out.
    known = np.array([id in records for id in answers["episode"].to_pylist()])
    answers = answers.filter(pa.array(known))
    asked = [records[id] for id in answers["episode"].to_pylist()]
    rows_Q = np.array([record.first_row for record in asked]) + np.asarray(answers["step"], np.int64)
    rows_N, frame_index_Q = np.unique(rows_Q, return_inverse=True)
    # Whole worlds are held out: episodes of one world look alike.
    _, groups_Q = np.unique(np.array([record.scene for record in asked]), return_inverse=True)
    metrics = train_vqa(
        config,
        StoredImages(
            EpisodeStore(store.uri, version=store.version), rows_N, fitter=ImageFitter(size=config.network.image_size)
        ),
        frame_index_Q.astype(np.int64),
        answers["question"].to_pylist(),
        np.array(answers["answer"].to_pylist(), bool),
        job.folder,
        groups_Q=groups_Q.astype(np.int64),
        initial=job.initial,
        lineage=_lineage(store, job.initial),
        on_step=job.on_step,
        device=job.device,
    )
    samples = config.fit.steps * config.fit.batch_size
    return {"answers": len(rows_Q), "frames": len(rows_N), "samples": samples, "metrics": metrics}


def _lineage(store: EpisodeStore, initial: Path | None) -> dict[str, Any]:
    parent = (
        {} if initial is None else {"parent": parse_json((initial / "config.json").read_text(encoding="utf-8"))["weights"][:8]}
    )
    return {"data": {"pictures": store.version}, "revision": git_revision(), **parent}


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        manifest = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SoarError(f"{path} cannot be read ({error}); move it away and run the same command again") from error
    return dict(manifest) if isinstance(manifest, dict) else {}


def _plain(config: Any) -> dict[str, Any]:
    """Return a configuration as JSON reads it back."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return values
