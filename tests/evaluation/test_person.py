"""Whole sessions, by people who type into a real terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from soar.episodes import EpisodeStore
from soar.errors import ConfigError, SoarError
from soar.evaluation import Evaluation, read_evaluation
from soar.evaluation.comparison import compare
from soar.evaluation.person import Judged, evaluate_by_person
from soar.evaluation.plan import Plan, order
from soar.evaluation.runner import trial_seed
from soar.event_log import read_journal
from soar.terminal import Terminal
from tests.person import at_a_terminal
from tests.robots.test_workcell import cell

TASK = "put the carrot on the plate"
POLICIES = ("tests.evaluation.contenders:ambrosia", "tests.evaluation.contenders:basilikum")


def keys(trials: int) -> list[tuple[str, str, int]]:
    return [("bench", TASK, trial_seed("bench", TASK, index)) for index in range(trials)]


class Sitting:
    """One session of a scripted person; `read` is what it was shown."""

    def __init__(self, folder: Path, answer: Callable[[str], str], *, driver: str = "Arm", out: str = "mine", **changes: Any):
        path = folder / "evaluations" / f"{out}.json"
        policies = changes.pop("policies", POLICIES)
        outs = [path.with_name(f"{out}-{number}.json") for number in range(1, len(policies) + 1)]
        with at_a_terminal() as person:
            person.answers(answer)
            self.judged: Judged = evaluate_by_person(
                policies,
                name="ada",
                workcell=cell(folder, driver),
                subgoals="",
                outs=outs,
                variants=[path.stem for path in outs],
                out=path,
                terminal=Terminal(person.path),
                **changes,
            )
        self.read = person.read
        self.files: list[Evaluation] = [read_evaluation(path) for path in outs]


def number_of(question: str) -> int:
    found = re.search(r"Trial (\d+) of", question)
    assert found, question
    return int(found[1])


def favouring(contender: int, trials: int, seed: int = 0) -> Callable[[str], str]:
    """Answers of somebody to whom everything works that one policy does, and nothing of the other's."""
    slots = Plan(keys(trials), 2, seed=seed, stop_early=False).slots

    def answer(question: str) -> str:
        if "Did it work?" not in question:
            return "g"
        return "y" if slots[number_of(question) - 1].contender == contender else "n slipped"

    return answer


def test_two_policies_are_compared_start_by_start_and_unnamed_until_the_end(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path, favouring(1, 3), trials=3)
    first, second = sitting.files
    assert (first.judge, first.policy, second.policy) == ("person:ada", "ambrosia-policy", "basilikum-policy")
    assert [trial.key for trial in first.trials] == [trial.key for trial in second.trials] == sorted(keys(3))
    assert (first.rate().successes, second.rate().successes) == (0, 3)
    assert {trial.note for trial in first.trials} == {"slipped"}
    assert sitting.judged.evaluations == (first, second)
    assert (sitting.judged.finished, sitting.judged.made) == (True, 6)
    for said in ("Trial 1 of 6: put the carrot on the plate", "Trial 6 of 6", "Set the table", "nothing is seen twice in"):
        assert said in sitting.read
    for name in ("ambrosia", "basilikum", "mine-1", "mine-2", "contender"):
        assert name not in sitting.read
    comparison = compare(first, second)
    assert (comparison.paired.only_first, comparison.paired.only_second, comparison.promotion.promote) == (0, 3, True)
    assert "mine-2 against mine-1, from the same 3 starts: 3/3 = 1.00 [.44, 1.00] against 0/3" in comparison.sentence
    films = EpisodeStore(tmp_path / "evaluations" / "mine-2-films")
    assert [record.labels[0].source for record in films.episodes()] == ["person:ada"] * 2


def test_the_first_policy_from_a_start_decides_how_it_looks_and_later_ones_are_shown_both_pictures(tmp_path: Path) -> None:
    Sitting(tmp_path, lambda question: "y" if "work" in question else "g", trials=1, policies=POLICIES[:1], out="first")
    (reference,) = (tmp_path / "evaluations" / "starts" / "bench").iterdir()
    before = reference.read_bytes()
    # Somebody changes the table, which the picture shows, before another policy is tried on another day.
    with Pillow.open(reference) as picture:
        dark = np.zeros_like(np.asarray(picture))
    Pillow.fromarray(dark).save(reference)
    later = Sitting(tmp_path, lambda question: "y" if "work" in question else "g", trials=1, policies=POLICIES[1:], out="later")
    assert "Set the table" not in later.read
    with Pillow.open(tmp_path / "evaluations" / "later-trial.png") as picture:
        shown = np.asarray(picture)
    Pillow.open(reference).close()
    reference.write_bytes(before)
    with Pillow.open(reference) as picture:
        assert np.array_equal(shown, np.asarray(picture) // 2)


def test_what_was_judged_is_kept_when_the_person_stops_and_the_rest_is_asked_the_next_time(tmp_path: Path) -> None:
    everything = favouring(0, 3)

    def stopping(question: str) -> str:
        return "q" if "work" in question and number_of(question) == 4 else everything(question)

    first = Sitting(tmp_path, stopping, trials=3)
    assert (first.judged.finished, first.judged.made, first.judged.planned) == (False, 3, 6)
    assert "Stopped: 3 of 6 trials are kept." in first.read
    second = Sitting(tmp_path, everything, trials=3)
    asked = [int(number) for number in re.findall(r"Trial (\d+) of 6: [^.\n]*\. Did", second.read)]
    assert asked == [4, 5, 6]
    assert [file.rate().successes for file in second.files] == [3, 0]


def test_a_trial_in_which_the_robot_fails_is_repeated_and_its_note_says_so(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path, lambda q: "y" if "work" in q else "g", driver="stumbling", trials=2, policies=POLICIES[:1])
    assert "the robot failed (robot fault (motor): injected at step 149): the trial is repeated" in sitting.read
    assert sitting.files[0].rate().trials == 2
    notes = {trial.seed: trial.note for trial in sitting.files[0].trials}
    assert [notes[seed] for _, _, seed in keys(2)] == ["", "repeated 1 x: the robot failed"]


def test_a_person_can_repeat_a_trial_report_a_fault_and_take_a_verdict_back(tmp_path: Path) -> None:
    said: list[str] = []
    #          trial 1 repeated, then judged; trial 2: first the last verdict is turned round; then a fault; then judged
    script = ["g", "r somebody walked by", "g", "y", "g", "u", "n typing error", "f", "g", "p", "g", "y"]

    def answer(question: str) -> str:
        said.append(question)
        return script[len(said) - 1]

    sitting = Sitting(tmp_path, answer, trials=2, policies=POLICIES[:1])
    trials = {trial.seed: trial for trial in sitting.files[0].trials}
    first, second = (trials[seed] for _, _, seed in keys(2))
    assert (first.success, first.note) == (False, "typing error")
    assert (second.success, second.note) == (True, "repeated 1 x: the robot failed")
    assert len(said) == len(script)
    events = read_journal(tmp_path / "evaluations" / "mine-session.jsonl")
    assert [event["event"] for event in events] == ["repeated", "verdict", "taken_back", "repeated", "verdict"]
    assert events[0]["detail"] == "somebody walked by"
    films = EpisodeStore(tmp_path / "evaluations" / "mine-1-films").episodes()
    assert sorted(film.success for film in films) == [False, True]


def test_a_verdict_that_is_taken_back_with_its_trial_is_made_again(tmp_path: Path) -> None:
    script = iter(["g", "y", "u", "r", "g", "n", "g", "y"])
    sitting = Sitting(tmp_path, lambda question: next(script), trials=2, policies=POLICIES[:1])
    trials = {trial.seed: trial.success for trial in sitting.files[0].trials}
    assert [trials[seed] for _, _, seed in keys(2)] == [False, True]
    assert next(script, None) is None
    films = EpisodeStore(tmp_path / "evaluations" / "mine-1-films").episodes()
    assert len(films) == 2


def test_a_comparison_ends_when_it_is_decided(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path, favouring(1, 20), trials=20)
    assert (sitting.judged.finished, sitting.judged.made, sitting.judged.planned) == (True, 14, 40)
    assert "Whenever one stops: p = .037, mine-2 is better." in compare(*sitting.files).sentence
    # Nothing more is asked by the same command, and everything is without the rule.
    assert Sitting(tmp_path, favouring(1, 20), trials=20).judged.made == 14
    assert Sitting(tmp_path, favouring(1, 8), trials=8, stop_early=False).judged.made == 16


def test_the_order_of_the_policies_is_a_function_of_seed_and_start_and_balanced() -> None:
    starts = keys(400)
    first = [order(0, key, 2)[0] for key in starts]
    assert first == [order(0, key, 2)[0] for key in starts]
    assert 160 < sum(first) < 240
    assert first != [order(1, key, 2)[0] for key in starts]
    assert all(sorted(order(0, key, 3)) == [0, 1, 2] for key in starts)


def test_a_workcell_that_sets_its_starts_asks_for_nothing_but_verdicts(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path, lambda question: "y", driver="Cell", trials=1)
    assert "table" not in sitting.read
    assert not (tmp_path / "evaluations" / "starts").exists()
    assert sitting.judged.made == 2


def test_a_start_whose_picture_is_gone_is_not_guessed(tmp_path: Path) -> None:
    Sitting(tmp_path, lambda q: "y" if "work" in q else "g", trials=1, policies=POLICIES[:1])
    (reference,) = (tmp_path / "evaluations" / "starts" / "bench").iterdir()
    reference.unlink()
    with pytest.raises(SoarError, match="is gone, the picture of a start from which a policy was tried"):
        Sitting(tmp_path, lambda q: "y" if "work" in q else "g", trials=2, policies=POLICIES[:1])


@pytest.mark.parametrize(
    ("name", "terminal", "message"), [("", "/dev/tty", "--judge-name"), ("ada", "/no/such/tty", "there is no terminal")]
)
def test_without_a_name_or_a_terminal_nothing_begins(tmp_path: Path, name: str, terminal: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate_by_person(
            POLICIES,
            name=name,
            workcell=cell(tmp_path),
            subgoals="",
            trials=1,
            outs=[tmp_path / "a" / "1.json", tmp_path / "a" / "2.json"],
            variants=["1", "2"],
            out=tmp_path / "a" / "x.json",
            terminal=Terminal(Path(terminal)),
        )
    assert not (tmp_path / "a").exists()
