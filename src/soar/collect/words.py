"""Do the models know the words of a scene? What a model never learned it answers, imagines or does all the same, by guessing.

Who is asked what: the vision-language model the tasks' questions; the subgoal model and the policy the instructions, if they
are told them. A model that cannot say which words it knows (`soar.words`) is not spoken of.

A judge and a subgoal model stay as they are, so that a word that they do not know spoils the night. A policy learns its words
from what practice brings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from soar.collect.models import NONE, ORACLE, ORACLE_PRECISION, Models
from soar.policies.base import Policy, begin
from soar.robots.checks import Finding
from soar.subgoals.loading import load_subgoal_model
from soar.types import Task
from soar.vlm.loading import load_vlm
from soar.words import unknown_to

_SHOWN = 3
_PAGE = "docs/how-to/foundation-models.md"


def check_words(models: Models, policy: Policy, tasks: Sequence[Task]) -> Iterator[Finding]:
    """Yield a finding for each model that says which words it knows.

    Args:
        models: As `soar.collect.models.check_models` found them.
        policy: What it returned.
        tasks: The scene's.
    """
    instructions = [task.instruction for task in tasks]
    conditioning = {}
    for text in instructions:
        begin(policy, text)  # who acts may depend on it
        conditioning[text] = policy.conditioning
    policy.reset()
    if models.vlm not in ORACLE_PRECISION:
        questions = list(dict.fromkeys(task.question for task in tasks))
        advice = (
            f"it answers these by guessing, and what it calls a success is learned from: another model by --vlm ({_PAGE}), or "
            "a question in its words below the task in the scene's file"
        )
        yield from _finding("--vlm", load_vlm(models.vlm), questions, advice, ok=False)
    imagined = [text for text, told in conditioning.items() if told == "goal" or (told == "both" and models.subgoals != NONE)]
    if imagined and models.subgoals != ORACLE:
        advice = f"it imagines these by guessing: another model by --subgoals ({_PAGE}), or instructions in its words"
        yield from _finding("--subgoals", load_subgoal_model(models.subgoals), imagined, advice, ok=False)
    followed = [text for text, told in conditioning.items() if told != "goal"]
    advice = (
        "it follows these by the words that it knows, and learns the others from the successes of practice; where there are "
        "none, begin with demonstrations of these instructions, or with a policy that reaches goal images"
    )
    yield from _finding("--policy", policy, followed, advice, ok=None)


def _finding(flag: str, model: object, texts: Sequence[str], advice: str, *, ok: bool | None) -> Iterator[Finding]:
    said = {text: unknown_to(model, text) for text in texts}
    unknown: Mapping[str, Sequence[str]] = {text: words for text, words in said.items() if words}
    name = getattr(model, "id", flag)
    if unknown:
        shown = [f"{', '.join(dict.fromkeys(words))} of {text!r}" for text, words in list(unknown.items())[:_SHOWN]]
        more = f"; and words of {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        detail = f"{name} does not know {'; '.join(shown)}{more}"
        yield Finding(check=f"words of {flag}", ok=ok, detail=detail, advice=advice)
    elif said and None not in said.values():
        sentences = f"{len(said)} {'question' if flag == '--vlm' else 'instruction'}{'s' * (len(said) != 1)}"
        yield Finding(check=f"words of {flag}", ok=True, detail=f"{name} knows all words of {sentences}")
