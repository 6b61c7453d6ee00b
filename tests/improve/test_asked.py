"""What a person asks of the loop while it goes on: another policy for its robots, or its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from soar.episodes import EpisodeStore
from soar.errors import SoarError
from soar.event_log import read_journal
from soar.improve.asked import Asked
from soar.improve.config import ImproveConfig
from soar.improve.learners import keep_policy
from soar.improve.loop import improve
from soar.policies.learned import read_lineage
from soar.policies.named import id_in
from soar.run_folder import RunFolder
from soar.run_orders import Orders, Standing

from .judges import mood
from .test_without_truth import configured, current


def when(moments: dict[str, Callable[[], object]]) -> Callable[[str, int, int, str], None]:
    """Return a report of progress that does something, once, when it says `PHASE DONE`."""

    def on_progress(phase: str, done: int, total: int, note: str = "") -> None:
        if (act := moments.pop(f"{phase} {done}", None)) is not None:
            act()

    return on_progress


def made_by(config: ImproveConfig) -> list[tuple[int, str]]:
    """Round and policy of each episode, in order."""
    records = sorted(EpisodeStore(config.run / "episodes").episodes(), key=lambda record: record.id)
    return [(record.provenance.round, record.provenance.policy) for record in records]


def test_a_person_goes_back_in_the_middle_of_a_round_and_what_follows_starts_from_there(tmp_path: Path) -> None:
    mood["says"] = True
    config = configured(tmp_path, evaluate="off", rounds=2)
    orders = Orders(config.run)
    improve(
        config,
        when(
            {
                "collect, round 1 1": lambda: orders.give("deploy", "bob", 7),
                "collect, round 2 1": lambda: orders.give("deploy", "ada", 0),
            }
        ),
    )
    first, second, third = (id_in(config.run / "policies" / f"00{number}") for number in range(3))
    assert made_by(config) == [(1, first)] * 4 + [(2, second)] + [(2, first)] * 3
    refused, back = read_journal(config.run / "events.jsonl", "promotion")
    assert (refused["candidate"], refused["deployed"], refused["promote"], refused["by"]) == (7, 0, False, "bob")
    assert refused["sentence"].startswith(f"Kept {first}: policy 7, which bob asked for, cannot be used: ")
    assert (back["round"], back["candidate"], back["deployed"], back["promote"], back["by"]) == (2, 0, 1, True, "ada")
    assert back["sentence"] == f"Went back to {first} from {second}: ada said so."
    # Nobody decides about the candidate that ada sent away, and the next one learns from what she wants.
    assert read_lineage(config.run / "policies" / "002").parent == first
    assert current(config) == "002", "which is on trial as any candidate is"
    assert orders.now() == Standing()

    # The rounds are over, and the order is heard all the same: whoever takes the policy from there finds it.
    orders.give("deploy", "ada", 2)
    improve(config)
    assert read_journal(config.run / "events.jsonl", "promotion")[-1]["sentence"] == f"Promoted {third}: ada ended its trial."
    assert current(config) == "002"


def test_a_run_that_is_stopped_while_it_learns_ends_and_is_compared_with_what_is_deployed_when_it_goes_on(
    tmp_path: Path,
) -> None:
    mood["says"] = True
    config = configured(tmp_path, evaluate="vlm", rounds=2)
    orders = Orders(config.run)
    with pytest.raises(SoarError, match="stopped by ada: the last checkpoint is there and kept"):
        improve(config, when({"train, round 2 1": lambda: orders.give("stop", "ada")}))
    assert len(read_journal(config.run / "events.jsonl", "training")) == 2
    (kept,) = read_journal(config.run / "events.jsonl", "promotion")
    assert (kept["candidate"], kept["promote"]) == (1, False)
    orders.give("deploy", "ada", 1)
    improve(config)
    _, hers, last = read_journal(config.run / "events.jsonl", "promotion")
    first, second = (id_in(config.run / "policies" / f"00{number}") for number in range(2))
    assert (hers["sentence"], hers["by"]) == (f"Promoted {second} from {first}: ada said so.", "ada")
    assert (last["candidate"], last["deployed"]) == (2, 1)
    # What it learns from, and what it learned before, was settled when its training began.
    assert [event["initial"] for event in read_journal(config.run / "events.jsonl", "training")] == [0, 0]
    assert read_lineage(config.run / "policies" / "002").parent == first


def test_an_order_is_obeyed_or_refused_whatever_is_damaged_and_stands_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = configured(tmp_path, evaluate="off"), RunFolder(tmp_path / "run")
    for number in (0, 1):
        keep_policy(tmp_path / "policy", folder.policy(number))
    first, orders, asked = id_in(folder.policy(0)), Orders(folder.path), Asked(config, folder)
    folder.journal.append("promotion", round=1, candidate=1, deployed=0, promote=True, sentence="")

    def breaks(name: str) -> None:
        raise RuntimeError("no such kernel")

    with monkeypatch.context() as patched:
        patched.setattr("soar.improve.asked.load_policy", breaks)
        orders.give("deploy", "bob", 0)
        asked.take_over()
    assert folder.events("promotion")[-1]["sentence"].endswith("cannot be used: RuntimeError: no such kernel")
    (folder.policy(1) / "config.json").write_text("{")  # the one in use: a reason to go back
    orders.give("deploy", "ada", 0)
    asked.take_over()
    assert folder.events("promotion")[-1]["sentence"] == f"Went back to {first} from policy 1: ada said so."
    assert (folder.in_use(), orders.now()) == (0, Standing())
