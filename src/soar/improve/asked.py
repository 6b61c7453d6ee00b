"""What a person asks of a run while it goes on: another policy for its robots, or its end (`soar.run_orders`).

    asked ─► can it be opened and act, are its cameras there? ─► journaled as a promotion, with who ─► the next episodes use it
                     └─ no: journaled as refused, with the reason; the one in use goes on

A policy of the run is meant: a candidate, or an earlier one, to go back to. It counts from then on as the one that is deployed:
the next candidate is compared with it and, unless its training has begun, begins with it. About a candidate that a person has
promoted, or from which they have gone back, the loop decides nothing any more.
"""

from __future__ import annotations

import logging
import time

from soar.errors import SoarError
from soar.fleet.deployment import warm_up
from soar.improve.config import ImproveConfig
from soar.policies.base import check_cameras
from soar.policies.loading import load_policy
from soar.policies.named import id_in
from soar.progress import Progress
from soar.robots.workcell import load_workcell
from soar.run_folder import RunFolder
from soar.run_orders import Orders
from soar.training.served import served

log = logging.getLogger(__name__)
_LOOK_S = 0.5


class Asked:
    """What is asked of one run.

    Args:
        config: The run.
        folder: Its folder.
    """

    def __init__(self, config: ImproveConfig, folder: RunFolder) -> None:
        self._config, self._folder, self._orders = config, folder, Orders(folder.path)

    def take_over(self) -> None:
        """Let the next episodes be of the policy that somebody asked for, if there is one, and write down what came of it.

        Raises:
            SoarError: The journal or the orders cannot be read or written.
        """
        order, folder = self._orders.now().deploy, self._folder
        if order is None:
            return
        number, before = int(order.policy or 0), folder.in_use()
        # To ask for the one that is on trial is to keep it.
        if number != before or folder.on_trial() is not None:
            earlier = number == 0 or any(e["candidate"] == number and e["promote"] for e in folder.events("promotion"))
            old, refused = self._name(before), self._refused(number)
            if refused:
                sentence = f"Kept {old}: policy {number}, which {order.by} asked for, cannot be used: {refused}"
            elif number == before:
                sentence = f"Promoted {old}: {order.by} ended its trial."
            else:
                done = "Went back to" if earlier else "Promoted"
                sentence = f"{done} {id_in(folder.policy(number))} from {old}: {order.by} said so."
            folder.journal.append(
                "promotion",
                round=1 + max((int(event["round"]) for event in folder.events("round_finished")), default=0),
                candidate=number,
                deployed=before,
                promote=not refused,
                sentence=sentence,
                by=order.by,
            )
        self._orders.deployed(order)
        folder.point_at(folder.in_use())

    def decided(self, candidate: int) -> bool:
        """Whether a person has decided about a candidate."""
        return any(
            "by" in event and event["promote"] and candidate in (event["candidate"], event["deployed"])
            for event in self._folder.events("promotion")
        )

    def stoppable(self, report: Progress, kept: str) -> Progress:
        """Return a report that ends what is under way, when a person has stopped the run.

        Args:
            report: Called before.
            kept: What is there then, for the message.
        """
        looked_s = -float("inf")

        def reported(phase: str, done: int, total: int, note: str = "") -> None:
            nonlocal looked_s
            report(phase, done, total, note)
            if time.monotonic() - looked_s > _LOOK_S:
                looked_s = time.monotonic()
                self._orders.check(kept)

        return reported

    def _refused(self, number: int) -> str:
        """Return why a policy of the run cannot be used, empty when it can."""
        folder = self._folder.policy(number)
        try:
            with served(folder):
                policy, cell = load_policy(str(folder)), load_workcell(self._config.workcell)
                warm_up(policy)
                check_cameras(policy, cell.cameras, f"workcell {cell.name!r}")
        except SoarError as error:
            return str(error)
        except Exception as error:  # of somebody's own policy; an order that ends the run would end it again and again
            log.exception("policy %s of the run cannot be opened", number)
            return f"{type(error).__name__}: {error}"
        return ""

    def _name(self, number: int) -> str:
        """Return the id of a policy of the run; people go back from one that is damaged, too."""
        try:
            return id_in(self._folder.policy(number))
        except SoarError:
            return f"policy {number}"
