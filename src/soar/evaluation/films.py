"""Trials that are kept as episodes, to look at: an episode store beside an evaluation's file."""

from __future__ import annotations

from pathlib import Path

from soar.collect.rollout import Rollout
from soar.episodes.filters import quoted
from soar.episodes.store import EpisodeStore
from soar.types import Episode, Label, Provenance


def keep_film(folder: Path, result: Rollout, *, scene: str, instruction: str, label: Label, made_by: Provenance) -> None:
    """Store a trial as an episode, once.

    Args:
        folder: Of the store.
        result: What was seen and done.
        scene: Name of the scene.
        instruction: The trial's.
        label: The judge's.
        made_by: Policy, models, robot; its seed is the trial's.

    Raises:
        StoreError: The store cannot be written.
    """
    store = EpisodeStore(folder, mode="open_or_create")
    id = film_id(scene, instruction, made_by.seed)
    if store.count(f"id = {quoted(id)}"):
        return
    store.append(
        Episode(
            id=id,
            scene=scene,
            instruction=instruction,
            images_THWC=result.images_THWC,
            states_TD=result.states_TD,
            actions_TD=result.actions_TD,
            subgoals=result.subgoals,
            labels=(label,),
            provenance=made_by,
            reflex_steps=result.reflex_steps,
            limited_steps=result.limited_steps,
            extra_images=result.extra_images,
        )
    )


def judge_film_anew(folder: Path, scene: str, instruction: str, seed: int, label: Label | None) -> None:
    """Give a kept trial another label, or drop it (None) because it is made again; nothing when it was not kept."""
    id = film_id(scene, instruction, seed)
    if not folder.exists() or not (store := EpisodeStore(folder)).count(f"id = {quoted(id)}"):
        return
    if label is None:
        store.delete(id)
    else:
        store.add_label(id, label)


def film_id(scene: str, instruction: str, seed: int) -> str:
    """Return the id of the episode of a trial."""
    return f"{scene}-{instruction}-{seed}".replace(" ", "-")
