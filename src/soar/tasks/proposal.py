"""Propose the next task: ask which are feasible in this image, then let the selector choose (paper §B.1.1, equations 1–2).

The only state is how often each task was attempted, and how often with success. It follows from past episodes, so a collector
that restarts passes those in and goes on as if it had never stopped.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from soar.errors import ConfigError, UnknownNameError
from soar.instruction_grammar import parse_instruction
from soar.tasks.detection import SuccessDetector
from soar.tasks.selection import (
    CyclingSelector,
    HumanSelector,
    SelectionName,
    Selector,
    UCBSelector,
    UniformSelector,
    ZoneSelector,
)
from soar.types import Image, Task
from soar.vlm.answer_parsing import decide
from soar.vlm.base import Answer, VisionLanguageModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalConfig:
    """How tasks are proposed. The defaults are the paper's.

    Attributes:
        selection: See `soar.tasks.selection`.
        zone_center: Of `zone`, see `ZoneSelector`.
        ucb_weight: Of `zone`.
        random_share: Of `zone`.
        reproposals: How often another task is chosen because the success detector says that the chosen one is done already;
            the released code has 4.
        in_a_row: How many attempts in a row a robot makes at one task before another one comes, feasible or not: a table with
            which it can do nothing, or of which the model is wrong, would keep it for the rest of the night. 0 for any number.
        questions: YAML file of reviewed questions, see `soar.tasks.questions`; the rules' questions by default.
        notify: URL of a webhook (Slack's, or any that takes {"text": …}) that hears of objects that went missing, and of a
            robot that cannot be recovered.
        constitution: YAML file of what may be done, see `soar.tasks.open_vocabulary`: with it, a model lists the tasks itself.
            Without it the scene's tasks are those that there are.
        lister: YAML file of the model that lists them; the one that answers questions by default.
    """

    selection: SelectionName = "ucb"
    zone_center: float = 0.3
    ucb_weight: float = 100.0
    random_share: float = 0.0
    reproposals: int = 0
    in_a_row: int = 0
    questions: str = ""
    notify: str = ""
    constitution: str = ""
    lister: str = ""

    def __post_init__(self) -> None:
        if self.reproposals < 0:
            raise ConfigError(f"proposal.reproposals must not be negative, got {self.reproposals}")
        if self.in_a_row < 0:
            raise ConfigError(f"proposal.in_a_row must be at least 1, or 0 for any number; got {self.in_a_row}")
        if self.notify and not self.notify.startswith(("http://", "https://")):
            raise ConfigError(f"proposal.notify must be a URL, got {self.notify!r}")
        if self.lister and not self.constitution:
            raise ConfigError("proposal.lister lists tasks under a constitution: name its file as proposal.constitution")
        self.selector(0)  # refuses numbers that are out of range

    def selector(self, seed: int) -> Selector:
        """Return the selector."""
        match self.selection:
            case "ucb":
                return UCBSelector(seed=seed)
            case "zone":
                return ZoneSelector(
                    seed=seed, zone_center=self.zone_center, ucb_weight=self.ucb_weight, random_share=self.random_share
                )
            case "uniform":
                return UniformSelector(seed=seed)
            case "cycling":
                return CyclingSelector()
            case "human":
                return HumanSelector()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The task to attempt, and why.

    Attributes:
        task: What to attempt.
        feasible: Instructions that the model considers feasible; undecidable ones are not among them.
        answers: The model's answer to each question that was asked.
        random: No task was feasible, so that a random one was taken.
        vetoed: Instructions that were chosen before, and that the success detector calls done already.
        passed_over: The instruction that was attempted often enough in a row; empty when there was none.
        listed: Instructions that a model listed itself, see `soar.tasks.open_vocabulary`.
        off_limits: Instructions that a person has set off limits, and that were there to choose from otherwise.
    """

    task: Task
    feasible: tuple[str, ...]
    answers: dict[str, Answer]
    random: bool
    vetoed: tuple[str, ...] = ()
    passed_over: str = ""
    listed: tuple[str, ...] = ()
    off_limits: tuple[str, ...] = ()


class TaskProposer:
    """Proposes one of a scene's tasks at a time.

    Args:
        vlm: Answers the feasibility questions.
        tasks: The scene's tasks.
        selector: Chooses among the feasible ones.
        past: Instructions of the attempts so far, in any order; those of other tasks are ignored.
        past_successes: Instructions of those that were judged successes.
        detector: Vets what was chosen; None: nobody does.
        reproposals: How often another task is chosen because the detector says that the chosen one is done.
        in_a_row: How many attempts in a row at one task are enough; 0 for any number.
        own: Instructions of the robot's own attempts so far, oldest first.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel,
        tasks: Sequence[Task],
        selector: Selector,
        past: Iterable[str] = (),
        past_successes: Iterable[str] = (),
        *,
        detector: SuccessDetector | None = None,
        reproposals: int = 4,
        in_a_row: int = 0,
        own: Sequence[str] = (),
    ) -> None:
        if not tasks:
            raise ConfigError("the scene has no tasks: list at least one instruction under `tasks` in its YAML file")
        self._vlm, self._tasks, self._selector = vlm, {task.instruction: task for task in tasks}, selector
        self._scene, self._forbidden = dict(self._tasks), frozenset[Hashable]()
        self._past, self._past_successes = Counter(past), Counter(past_successes)
        self._detector, self._reproposals = detector, reproposals
        self._last = deque(own, maxlen=in_a_row)

    @property
    def counts(self) -> dict[str, int]:
        """Attempts of each task so far, by instruction."""
        return {name: self._past[name] for name in self._tasks}

    @property
    def successes(self) -> dict[str, int]:
        """Attempts of each task that were judged successes, by instruction."""
        return {name: self._past_successes[name] for name in self._tasks}

    def propose(self, image_HWC: Image, off_limits: Collection[str] = (), missing: Collection[str] = ()) -> Proposal:
        """Return the next task for what the camera sees; asks each distinct question once, in one batch.

        Args:
            image_HWC: uint8 RGB.
            off_limits: Instructions that must not be attempted, see `PresenceChecker`. When that is all of them the model is
                trusted less than the robot is kept moving: a random task is attempted.
            missing: Objects that are not there; tasks that name one are off limits as well.
        """
        gone, permitted = frozenset(missing), self._permitted(self._tasks)
        allowed = {
            name: task for name, task in permitted.items() if name not in off_limits and not gone.intersection(task.objects)
        }
        questions = list(dict.fromkeys(task.question for task in allowed.values()))
        replies = self._vlm.answer([image_HWC] * len(questions), questions) if questions else []
        answers = dict(zip(questions, replies, strict=True))
        feasible = tuple(name for name, task in allowed.items() if decide(answers[task.question]) is task.feasible_answer)
        counts = {name: self._past[name] for name in allowed or permitted}
        passed_over = self._often_enough(counts)
        counts.pop(passed_over, None)
        chosen, vetoed = self._choose(image_HWC, tuple(name for name in feasible if name in counts), counts)
        return Proposal(
            task=self._tasks[chosen],
            feasible=feasible,
            answers=answers,
            random=chosen not in feasible,
            vetoed=vetoed,
            passed_over=passed_over,
            off_limits=tuple(name for name in self._tasks if name not in permitted),
        )

    def forbid(self, instructions: Iterable[str]) -> None:
        """Attempt none of these tasks, in whatever words and not at random either, until this is said anew."""
        self._forbidden = frozenset(_meaning(instruction) for instruction in instructions)

    @property
    def all_forbidden(self) -> bool:
        """Whether nothing is left to propose."""
        return not self._permitted(self._scene)

    def _permitted(self, tasks: Mapping[str, Task]) -> dict[str, Task]:
        return {name: task for name, task in tasks.items() if _meaning(name) not in self._forbidden}

    def _often_enough(self, counts: Mapping[str, int]) -> str:
        """Return the task that the last attempts were all at, if they were enough and there is another one."""
        enough = self._last and len(self._last) == self._last.maxlen and len(set(self._last)) == 1
        return self._last[0] if enough and len(counts) > 1 and self._last[0] in counts else ""

    def _choose(self, image_HWC: Image, feasible: tuple[str, ...], counts: dict[str, int]) -> tuple[str, tuple[str, ...]]:
        """Return the chosen task, and those that were chosen before it and are done already."""
        vetoed: tuple[str, ...] = ()
        while True:
            left = {name: count for name, count in counts.items() if name not in vetoed}
            chosen = self._selector.select([name for name in feasible if name in left], left, self.successes)
            if self._detector is None or len(vetoed) >= self._reproposals or len(left) == 1:
                return chosen, vetoed
            if self._detector.detect(image_HWC, self._tasks[chosen]).success is not True:
                return chosen, vetoed
            vetoed = (*vetoed, chosen)

    def recount(self, attempts: Mapping[str, int], successes: Mapping[str, int]) -> None:
        """Take over how often each task was attempted, and judged a success, by all robots of a fleet."""
        self._past, self._past_successes = Counter(attempts), Counter(successes)

    def record(self, task: Task, success: bool | None = None) -> None:
        """Count one attempt at a task; an episode that a fault ended does not count.

        Raises:
            UnknownNameError: The task is not one of the scene's.
        """
        if task.instruction not in self._tasks:
            raise UnknownNameError("task", task.instruction, self._tasks)
        self._past[task.instruction] += 1
        self._last.append(task.instruction)
        self._past_successes[task.instruction] += success is True


def _meaning(instruction: str) -> Hashable:
    """Return what an instruction means; its words, when the grammar does not know them."""
    try:
        return parse_instruction(instruction)
    except ConfigError:
        return instruction
