"""What is stored is journaled and counted once, also when the journal could not be written at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from soar.errors import SoarError
from soar.evaluation.canary import canary_verdict
from soar.event_log import Journal, read_journal
from soar.fleet.deploying import Deployments
from soar.fleet.episode_bytes import Delivery
from soar.fleet.ledger import Ledger
from soar.fleet.storing import Storing, tell_untold
from tests.fleet.test_ledger import HERE, encoded, ledger
from tests.fleet.tiny_policy import tiny_policy


class Run:
    """A run's folder, whose journal may be away."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.journal = folder, Journal(folder / "events.jsonl")
        self.ledger = self._ledger()
        self.ledger.acquire("one", HERE)
        self.deployments = self.deployments_read()
        self.storing = Storing(self.ledger, self.journal, self.deployments)

    def _ledger(self) -> Ledger:
        return ledger(self.folder)

    def deployments_read(self) -> Deployments:
        """What a coordinator that begins now knows of policies."""
        folder, robots = self.folder / "deployed", ("one", "two")
        return Deployments(folder, self.journal, robots, round=0, first="policy", decide=canary_verdict)

    def lose_journal(self) -> None:
        self.journal.path.rename(self.folder / "kept.jsonl")
        self.journal.path.mkdir()

    def find_journal(self) -> None:
        self.journal.path.rmdir()
        (self.folder / "kept.jsonl").rename(self.journal.path)

    def deliver(self, *numbers: int) -> list[str] | SoarError:
        episodes = [replace(encoded(number), limited_steps=(0,), reflex_steps=(0, 1)[: number % 3]) for number in numbers]
        (answer,) = self.storing([Delivery(robot="one", epoch=1, episodes=episodes)])
        return answer

    def told(self) -> list[str]:
        return [event["id"] for event in read_journal(self.journal.path, "episode")]


def test_what_a_journal_could_not_be_told_is_told_and_counted_once_with_the_next_delivery(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.deployments.begin(tiny_policy(tmp_path / "policy.onnx", "tried"), "one", 100)
    assert run.deployments.now is not None
    run.deployments.now.policy = "policy"  # whose episodes these are
    assert run.deliver(0) == []
    run.lose_journal()
    assert isinstance(run.deliver(1), SoarError)
    assert isinstance(run.deliver(1), SoarError)  # whoever brings it keeps it until it is told
    run.find_journal()
    assert run.deliver(1, 2) == [encoded(1).id]
    assert run.told() == [encoded(number).id for number in range(3)]
    tried = run.deployments.state()
    assert tried is not None
    assert (tried["tried"]["episodes"], tried["tried"]["successes"]) == (3, 2)


def test_the_journal_says_how_often_the_policys_own_actions_met_a_limit(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.deliver(0, 1)
    run.storing([Delivery(robot="one", epoch=1, episodes=[encoded(2)])])
    said = [(event["steps"], event["limited"]) for event in read_journal(run.journal.path, "episode")]
    assert said == [(3, 1), (2, 0), (3, None)]  # the one that a reflex took is not the policy's


def test_a_coordinator_that_was_killed_between_store_and_journal_leaves_the_rest_to_the_next_one(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.deliver(0)
    run.ledger.commit("one", 1, [encoded(1), replace(encoded(2), limited_steps=(1,))])  # and there it is killed
    run = Run(tmp_path)
    for _ in range(2):
        tell_untold(run.ledger, tmp_path / "episodes", run.journal)
    assert run.told() == [encoded(number).id for number in range(3)]
    last = read_journal(run.journal.path, "episode")[-1]
    assert (last["robot"], last["policy"], last["success"], last["steps"], last["limited"]) == ("one", "policy", True, 3, 1)
