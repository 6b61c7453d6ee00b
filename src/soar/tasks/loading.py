"""Which proposer a configuration means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soar.tasks.detection import SuccessDetector
from soar.tasks.open_vocabulary import OpenVocabularyProposer, read_constitution
from soar.tasks.proposal import ProposalConfig, TaskProposer
from soar.types import Task
from soar.vlm.base import VisionLanguageModel
from soar.vlm.loading import load_language_model


def open_proposer(
    config: ProposalConfig,
    vlm: VisionLanguageModel,
    vlm_name: str,
    tasks: Sequence[Task],
    *,
    seed: int,
    past: Sequence[str] = (),
    past_successes: Sequence[str] = (),
    own: Sequence[str] = (),
    detector: SuccessDetector | None = None,
) -> TaskProposer:
    """Return the proposer of a scene's tasks, or with a constitution that of the tasks which a model lists.

    Args:
        config: How tasks are proposed.
        vlm: Answers the feasibility questions.
        vlm_name: Its name; it lists tasks too, when `config.lister` names no other model.
        tasks: The scene's.
        seed: Of the selector.
        past: Instructions of the attempts so far, which count wherever they came from.
        past_successes: Instructions of those that were judged successes.
        own: Instructions of the robot's own attempts so far, oldest first.
        detector: Vets what was chosen; None: nobody does.

    Raises:
        ConfigError: The constitution cannot be read, or the model that is to list tasks does not reply in words.
    """
    if not config.constitution:
        return TaskProposer(
            vlm,
            tasks,
            config.selector(seed),
            past,
            past_successes,
            detector=detector,
            reproposals=config.reproposals,
            in_a_row=config.in_a_row,
            own=own,
        )
    return OpenVocabularyProposer(
        vlm,
        load_language_model(config.lister or vlm_name),
        read_constitution(Path(config.constitution)),
        tasks,
        config.selector(seed),
        past=past,
        past_successes=past_successes,
        detector=detector,
        reproposals=config.reproposals,
        in_a_row=config.in_a_row,
        own=own,
    )
