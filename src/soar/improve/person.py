"""A person judges the candidate of a round, in turn with the deployed policy, without knowing which of them acts."""

from __future__ import annotations

import contextlib
from pathlib import Path

from soar.errors import SoarError
from soar.evaluation import Evaluation
from soar.evaluation.dialogue import PageDialogue
from soar.evaluation.person import evaluate_by_person
from soar.improve.config import ImproveConfig
from soar.run_folder import RunFolder
from soar.seeding import derive_seed
from soar.training.served import served


def judged_by_person(
    config: ImproveConfig, folder: RunFolder, round: int, *, candidate: int, deployed: int
) -> tuple[Evaluation, Evaluation]:
    """Let the person judge both, at the terminal or on a page of the console.

    Args:
        config: Of the run.
        folder: Of the run.
        round: Of the candidate.
        candidate: Its number.
        deployed: That of the policy that robots use.

    Returns:
        What the candidate and what the deployed policy did, from the same starts.

    Raises:
        SoarError: The person stopped before the end; what was judged is kept.
    """
    numbers, out, improvement = (deployed, candidate), folder.evaluation(candidate), config.preset.improvement
    questions = improvement.collection.proposal.questions
    dialogue = PageDialogue(out) if config.ask == "page" else None
    with folder.timed(f"judge, round {round}"), contextlib.ExitStack() as asking:
        for number in numbers:
            asking.enter_context(served(folder.policy(number)))
        if dialogue is not None:
            asking.callback(dialogue.close)
        judged = evaluate_by_person(
            [folder.policy(number) for number in numbers],
            name=config.judge_name,
            workcell=config.workcell,
            subgoals=config.models.subgoals,
            trials=improvement.trials,
            outs=[folder.evaluation_beside(deployed, candidate), out],
            variants=[f"round {number}" if number else "pretrained" for number in numbers],
            out=out,
            seed=derive_seed(config.seed, "person", round),
            stop_early=False,  # promotion's test holds for a number of trials that nobody chose while looking
            questions=Path(questions) if questions else None,
            rollout=improvement.collection.rollout,
            vlm=config.models.vlm,
            threshold=improvement.collection.threshold,
            sees=improvement.collection.sees,
            terminal=dialogue,
        )
    if not judged.finished:
        raise SoarError(
            f"stopped: {judged.made} of the {judged.planned} trials of round {round} were judged and are kept. Run the "
            "same command again to go on."
        )
    before, after = judged.evaluations
    return after, before
