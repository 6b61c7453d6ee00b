"""What happens at each step and episode, told to whoever wants to know: consoles, recorders, telemetry. Never waited for.

    rollout, collector ── tell("step", …) ──► bounded queue ──► one thread ──► listener, listener, …

A listener that is slow loses events, the oldest first, and learns how many (`missed`); one that raises is told nothing any
more. Neither changes what the robot does. What is told is not copied: a listener reads it, and keeps it no longer than it must.

    proposal         proposal (soar.tasks.proposal): the task, and what the model said about all of them
    episode_begins   index, instruction
    subgoal          step, image_HWC, subgoal_HWC
    step             step, observation, action
    reflex           step at which a robot that stands still begins to back off (soar.collect.reflex)
    look             step, success, probability, label: what the judge says of a frame in between (soar.collect.early_success)
    judged           index, instruction, success, probability, label
    episode_ends     episode, saved: steps that it did not take, since a look ended it (soar.collect.early_success)
    fault            index, fault, detail
    paused           by: who has paused the run; again and again while it is (soar.run_orders)
    fallback         index, model, instead, times, detail: what was done while a model was away (soar.remote.fallbacks)
    waited           index, kinds: how long models behind servers took, by kind (soar.remote.waits)
    spent            index, calls, tokens, untold: what the episode's questions to models cost (soar.vlm.spending)
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

log = logging.getLogger(__name__)
CAPACITY = 256
"""Events that wait for a listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        kind: See the module's docstring.
        robot: Whose it is.
        fields: What there is to know.
        missed: How many events before this one were lost.
    """

    kind: str
    robot: str
    fields: dict[str, Any] = field(default_factory=dict)
    missed: int = 0


Listener: TypeAlias = Callable[[Event], None]


class Listeners:
    """Tells what happens to listeners, in a thread of its own; a context manager that waits for what was told.

    Args:
        robot: Whose events these are.
        listeners: Who is told; without any, telling costs nothing.
    """

    def __init__(self, robot: str = "", listeners: Sequence[Listener] = ()) -> None:
        self._robot, self._listeners = robot, list(listeners)
        self._events: deque[Event] = deque()
        self._missed = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"listeners of {robot}", daemon=True)
        if self._listeners:
            self._thread.start()

    def tell(self, kind: str, **fields: Any) -> None:
        """Say that something happened; returns at once."""
        if not self._listeners:
            return
        with self._changed:
            if len(self._events) >= CAPACITY:
                self._events.popleft()
                self._missed += 1
            self._events.append(Event(kind=kind, robot=self._robot, fields=fields))
            self._changed.notify()

    def close(self, timeout_s: float = 5.0) -> None:
        """Wait until what was told is heard, but not for ever."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._events or self._ended)
                if not self._events:
                    return
                event, self._missed = replace(self._events.popleft(), missed=self._missed), 0
            for listener in list(self._listeners):
                try:
                    listener(event)
                except Exception:
                    log.exception("a listener failed and is told nothing any more")
                    self._listeners.remove(listener)
