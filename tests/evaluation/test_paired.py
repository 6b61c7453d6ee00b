from __future__ import annotations

from soar.evaluation.paired import paired_rows
from soar.evaluation.trials import Evaluation, Trial


def outcomes(scene: str, variant: str, *successes: bool) -> Evaluation:
    trials = [Trial(scene=scene, task="a", seed=seed, success=ok, steps=1) for seed, ok in enumerate(successes)]
    return Evaluation(variant=variant, policy=variant, trials=tuple(trials))


def test_arms_are_compared_start_by_start_and_without_the_scene_that_says_most() -> None:
    evaluations = {
        ("one", "base"): [outcomes("one", "base", False, False, False, True)],
        ("two", "base"): [outcomes("two", "base", True, False)],
        ("one", "own"): [outcomes("one", "own", True, True, True, False)],
        ("two", "own"): [outcomes("two", "own", True, True)],
        ("one", "partial"): [outcomes("one", "partial", True, True, True, True)],
    }
    whole, rest = paired_rows(evaluations)
    assert whole == {
        "before": "base",
        "after": "own",
        "without": None,
        "starts": 6,
        "gained": 4,
        "lost": 1,
        "after better, p": ".188",
    }
    assert (rest["without"], rest["starts"], rest["gained"], rest["lost"]) == ("one", 2, 1, 0)
