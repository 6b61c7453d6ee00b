"""What an episode's questions to models cost is journaled with it."""

from __future__ import annotations

from pathlib import Path

from soar.collect.listeners import Event, Listeners
from soar.event_log import read_journal
from soar.prometheus import Histogram
from soar.remote.fallbacks import fell_back
from soar.remote.waits import waiting
from soar.types import Image
from soar.vlm.spending import counted, spend

from .collecting import collector


def test_calls_and_tokens_of_an_episode_are_journaled_and_none_when_the_model_reports_none(tmp_path: Path) -> None:
    asked: list[str] = []

    def costly(image: Image, question: str) -> bool:
        asked.append(question)
        spend(0 if len(asked) == 1 else 70)
        return False

    collector(tmp_path, script=costly).run(2)
    events = read_journal(tmp_path / "events.jsonl", "spent")
    assert [event["index"] for event in events] == [0, 1]
    assert sum(event["calls"] for event in events) == len(asked)
    assert sum(event["tokens"] for event in events) == 70 * (len(asked) - 1)
    assert [event["untold"] for event in events] == [1, 0]
    collector(tmp_path / "free").run(1)
    assert read_journal(tmp_path / "free" / "events.jsonl", "spent") == []


def test_waits_and_what_was_done_without_a_model_are_journaled_and_told_with_the_episode(tmp_path: Path) -> None:
    told: list[Event] = []

    def slow(image: Image, question: str) -> bool:
        with waiting("vlm"), waiting("policy"):
            fell_back("a model", "nothing", "it is away")
        return False

    with waiting("vlm"):
        pass  # nobody listens: it is nobody's
    listeners = Listeners("arm", [told.append])
    collector(tmp_path, script=slow, listeners=listeners).run(2)
    listeners.close()
    events = read_journal(tmp_path / "events.jsonl", "waited")
    times = [event["times"] for event in read_journal(tmp_path / "events.jsonl", "fallback")]
    assert [event["index"] for event in events] == [0, 1]
    for event, count in zip(events, times, strict=True):
        assert [sum(Histogram.read(event["kinds"][kind]).counts) for kind in ("policy", "vlm")] == [count, count]
    assert [event.fields["times"] for event in told if event.kind == "fallback"] == times
    assert [event.fields["kinds"] for event in told if event.kind == "waited"] == [event["kinds"] for event in events]
    collector(tmp_path / "near").run(1)
    assert read_journal(tmp_path / "near" / "events.jsonl", "waited") == []


def test_what_is_spent_while_nobody_counts_is_nobodys() -> None:
    spend(5)
    with counted() as outer:
        spend(7)
        with counted() as inner:
            spend(11, calls=2)
        spend(0)
    assert (outer.calls, outer.tokens, outer.untold) == (2, 7, 1)
    assert (inner.calls, inner.tokens, inner.untold) == (2, 11, 0)
