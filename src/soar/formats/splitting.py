"""One episode of several instructions becomes several episodes of one.

```
step          0   1   2   3   4   5          part-0: actions 0 1 2, observations 0 1 2 3
instruction   A   A   A   B   B   B          part-1: actions 3 4,   observations 3 4 5
```

The observation at a change ends one part and begins the next. The verdict is that of the last part; of the others nothing is
known.
"""

from __future__ import annotations

from dataclasses import replace

from soar.episodes.encoded import EncodedEpisode
from soar.formats.steps import FINAL_ACTION, INSTRUCTIONS


def split_at_instructions(episode: EncodedEpisode) -> list[EncodedEpisode]:
    """Return the parts of an episode, or the episode itself where its instruction never changes."""
    several = episode.origin.get(INSTRUCTIONS)
    if not several:
        return [episode]
    steps = len(episode.actions_TD)
    begins = [(int(step), str(text)) for step, text in several if step < steps]
    ends = [step for step, _ in begins[1:]] + [steps]
    return [
        _part(episode, number, text, begin, end)
        for number, ((begin, text), end) in enumerate(zip(begins, ends, strict=True))
        if end > begin
    ]


def stretch(episode: EncodedEpisode, begin: int, end: int) -> EncodedEpisode:
    """Return the actions `begin` … `end` - 1 of an episode; the subgoal that is pursued then is the first.

    The action at its last observation is known, unless that was a reflex's, which nobody imitates.
    """
    origin = dict(episode.origin)
    if end < len(episode.actions_TD):
        origin.pop(FINAL_ACTION, None)
        if end not in episode.reflex_steps:
            origin[FINAL_ACTION] = episode.actions_TD[end].tolist()
    goals = {max(step, begin) - begin: goal for step, goal in episode.subgoals if step < end}
    limited = episode.limited_steps
    return replace(
        episode,
        frames=episode.frames[begin : end + 1],
        extra_frames={camera: jpegs[begin : end + 1] for camera, jpegs in episode.extra_frames.items()},
        states_TD=episode.states_TD[begin : end + 1],
        actions_TD=episode.actions_TD[begin:end],
        subgoals=tuple(sorted(goals.items())),
        origin=origin,
        reflex_steps=tuple(step - begin for step in episode.reflex_steps if begin <= step < end),
        limited_steps=None if limited is None else tuple(step - begin for step in limited if begin <= step < end),
    )


def _part(episode: EncodedEpisode, number: int, instruction: str, begin: int, end: int) -> EncodedEpisode:
    part = stretch(episode, begin, end)
    origin = {name: value for name, value in part.origin.items() if name != INSTRUCTIONS}
    return replace(
        part,
        id=f"{episode.id}-part-{number}",
        instruction=instruction,
        labels=episode.labels if end == len(episode.actions_TD) else (),
        origin={**origin, "part": {"of": episode.id, "first_step": begin}},
    )
