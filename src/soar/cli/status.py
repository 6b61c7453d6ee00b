"""`soar status`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Status:
    """Say how far a run is, how well it goes and what was decided, in the terminal: what `soar console` shows on a page.

    It reads, and works while a run goes on and afterwards, also on a store alone.

    Example: soar status runs/scene1
    """

    run_folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN-OR-STORE")]
    """Folder of a run, or a store."""
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False
    """Print it as JSON, for programs."""

    def run(self) -> None:
        """Run it."""
        import json

        from soar.cli.tables import print_tasks, say
        from soar.console.findings import decisions_of, findings_of
        from soar.console.run_facts import cost_of, phase_of, policies_of, settings_of, tasks_of
        from soar.console.run_journal import RunJournals
        from soar.console.run_plan import finished
        from soar.console.sources import open_sources
        from soar.evaluation.practice import attempts_of
        from soar.run_claim import who_works_in
        from soar.run_orders import Orders

        (source,) = open_sources([self.run_folder]).values()
        browser, journal, phase = source.browser, RunJournals().of(source), phase_of(source)
        table = None if browser is None or not len(browser.table()) else attempts_of(browser)
        tasks = [] if table is None else tasks_of(table)
        decisions, faults = decisions_of(source, journal), [] if journal is None else journal.fault_kinds.most_common()
        cost, settings = cost_of(table, journal), settings_of(source)
        policies = [] if table is None else policies_of(table)
        works = "" if source.run is None else who_works_in(source.run)
        ended = "" if works else finished(source.run)
        if not works and dict(settings).get("command") == "soar collect" and phase is not None and phase.done >= phase.total:
            ended = f"finished: all {phase.total} episodes are there. The same command with more --episodes would go on"
        orders = "" if source.run is None else Orders(source.run).now().words
        if self.as_json:
            facts = {
                "run": source.title,
                "works": works,
                "finished": ended,
                "orders": orders,
                "phase": None if phase is None else {"name": phase.name, "done": phase.done, "total": phase.total},
                "episodes": 0 if table is None else len(table),
                "tasks": {one.task: [one.judged.successes, one.judged.trials] for one in tasks},
                "policies": {name: [rate.successes, rate.trials] for name, rate in policies},
                "decisions": [decision.sentence for decision in decisions],
                "faults": dict(faults),
                "cost": dict(cost),
            }
            say(json.dumps(facts, indent=1))
            return
        for name, value in settings:
            say(f"{name}: {value}")
        if source.run is not None:
            goes_on = "the command that began it goes on where it stopped"
            say(f"works here now: {works or f'nobody; {ended or goes_on}'}")
        if orders:
            say(orders)
        if phase is not None and not ended:
            left = "" if phase.left_s is None or not phase.fresh else f", about {phase.left_s / 60:.0f} min left"
            when = "" if phase.fresh else f" (said {(time.time() - phase.said_s) / 60:.0f} min ago)"
            say(f"{phase.name}: {phase.done} of {phase.total}{left}{when}")
        if table is None:
            say("no episodes yet")
        else:
            say(findings_of(source, journal).summary)
            print_tasks(tasks)
            for name, rate in policies:
                say(f"policy {name}: {rate} judged successes")
        for decision in reversed(decisions):
            say(decision.sentence)
        for kind, count in faults:
            say(f"faults: {kind} {count} times")
        for name, value in cost:
            say(f"{name}: {value}")
