"""What becomes of deliveries that are stored together: store, journal, and what a policy that is tried has done.

    store ─► journal ─► deployments        each step is made up for when it could not be done at once

An episode is told once, and only what is in the store is: what a journal on a full disk could not be told is told with the next
delivery, and what a coordinator that was killed in between did not tell is told by the next one (`tell_untold`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from soar.episodes.encoded import EncodedEpisode
from soar.episodes.filters import quoted
from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore
from soar.errors import SoarError
from soar.event_log import Journal, read_journal
from soar.fleet.deploying import Deployments
from soar.fleet.deployment import tally_of
from soar.fleet.episode_bytes import Delivery
from soar.fleet.ledger import Ledger

_EVENT = "episode"


class Storing:
    """Stores deliveries; one call at a time.

    Args:
        ledger: Stores them.
        journal: Is told of each.
        deployments: Are told after the journal.
    """

    def __init__(self, ledger: Ledger, journal: Journal, deployments: Deployments) -> None:
        self._ledger, self._journal, self._deployments = ledger, journal, deployments
        self._untold: dict[str, dict[str, Any]] = {}

    def __call__(self, deliveries: Sequence[Delivery]) -> list[list[str] | SoarError]:
        """Store deliveries in one append, and journal what is new with one write.

        Returns:
            For each the ids that were there already, or why it was not taken (`soar.fleet.ledger.Ledger.commit_together`); an
            error of the journal for all: they are stored, and whoever brings them again is told so once they are journaled.
        """
        answers = self._ledger.commit_together(deliveries)
        self._untold |= {
            episode.id: _journaled(episode, len(episode.actions_TD))
            for delivery, there in zip(deliveries, answers, strict=True)
            if not isinstance(there, SoarError)
            for episode in delivery.episodes
            if episode.id not in there
        }
        try:
            self._journal.append_all((_EVENT, one) for one in self._untold.values())
        except SoarError as error:
            return [there if isinstance(there, SoarError) else error for there in answers]
        told, self._untold = self._untold, {}
        for one in told.values():
            self._deployments.count(one["policy"], one["scene"], tally_of(one))
        return answers


def tell_untold(ledger: Ledger, store: Path, journal: Journal) -> None:
    """Journal what is stored and was never journaled.

    Args:
        ledger: Of the run, which nobody uses yet.
        store: Its store.
        journal: Of the run.

    Raises:
        SoarError: The journal cannot be read or written, or the store cannot be read.
    """
    if untold := ledger.ids - {str(event.get("id")) for event in read_journal(journal.path, _EVENT)}:
        records = EpisodeStore(store).episodes(f"run = {quoted(ledger.run)} AND round <= {ledger.round}")
        journal.append_all((_EVENT, _journaled(record, record.length)) for record in records if record.id in untold)


def _journaled(episode: EncodedEpisode | EpisodeRecord, steps: int) -> dict[str, Any]:
    label = episode.labels[0] if episode.labels else None
    reflexes, limited = set(episode.reflex_steps), episode.limited_steps
    return {
        "id": episode.id,
        "robot": episode.provenance.robot,
        "scene": episode.scene,
        "policy": episode.provenance.policy,
        "instruction": episode.instruction,
        "success": label.success if label else None,
        "probability": label.probability if label else None,
        # Of the policy's own actions, those that the safety shell changed.
        "steps": steps - len(reflexes),
        "limited": None if limited is None else len(set(limited) - reflexes),
    }
