"""Small evaluations to compare."""

from __future__ import annotations

from collections.abc import Sequence

from soar.evaluation import Evaluation, Trial

TASKS = ("put the lemon in the wooden bowl", "remove the lemon from inside the wooden bowl and put it on the table")


def evaluation(successes: Sequence[bool | int], arm: str = "pretrained", policy: str = "policy-000") -> Evaluation:
    """Return an evaluation whose trials alternate between two tasks; trial i has seed i."""
    trials = tuple(
        Trial(scene="scene1", task=TASKS[i % 2], seed=i, success=bool(success), steps=100)
        for i, success in enumerate(successes)
    )
    return Evaluation(arm=arm, policy=policy, subgoal_model="subgoals-small", trials=trials)
