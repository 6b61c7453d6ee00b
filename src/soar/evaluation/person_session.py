"""The dialogue of a person with trials: set the start, see the rollout, say whether it worked; see `soar.evaluation.person`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from soar.collect.rollout import Rollout
from soar.errors import RobotFault, SoarError
from soar.evaluation.films import judge_film_anew, keep_film
from soar.evaluation.plan import Plan, Slot
from soar.evaluation.starts import Starts, blended, write_picture
from soar.evaluation.trial_running import TrialConfig, run_trial, trial_of
from soar.evaluation.trials import Evaluation, Trial, TrialKey, write_evaluation
from soar.event_log import Journal, read_journal
from soar.policies.base import Policy
from soar.robots.safety import SafetyError
from soar.robots.workcell import Workcell
from soar.subgoals.base import SubgoalModel
from soar.tasks import SuccessDetector
from soar.terminal import Terminal
from soar.types import Image, Label, Provenance, Task

HELP = (
    "y: it worked, n: it did not (a remark may follow: n slipped), r: repeat the trial, f: the robot failed, repeat it, "
    "u: take back the last verdict, q: stop here, the same command goes on"
)
KEYS = "then g: go (p: the picture again, u: take back the last verdict, q: stop)."
SET = f"Set the table as it shall be for this trial, {KEYS}"
RESTORE = f"Move things until nothing is seen twice in {{}}, {KEYS}"


@dataclass(slots=True, kw_only=True)
class Contender:
    """A policy that is tried, its file, and who looks on the way whether it has succeeded."""

    config: TrialConfig
    out: Path
    policy: Policy
    subgoal_model: SubgoalModel | None
    detector: SuccessDetector | None
    evaluation: Evaluation


class Session:
    """Trials at one terminal.

    Args:
        workcell: Open.
        contenders: The policies.
        plan: Of their trials.
        films: Starts of which the trials are kept as episodes.
        out: What the session's own files are called after.
        terminal: Where the person is.

    Raises:
        SoarError: A start's reference picture is gone, or something cannot be written.
    """

    def __init__(
        self,
        workcell: Workcell,
        contenders: Sequence[Contender],
        plan: Plan,
        *,
        films: Sequence[TrialKey],
        out: Path,
        terminal: Terminal,
    ) -> None:
        self._workcell, self._contenders, self._plan, self._films = workcell, contenders, plan, films
        self._who, self._terminal = contenders[0].evaluation.judge, terminal
        self._tasks = {task.instruction: task for task in workcell.scene.tasks}
        self._starts = Starts(out.parent, workcell.config.reference) if workcell.reset_for is None else None
        self._picture = out.with_name(f"{out.stem}-trial.png")
        self._journal = Journal(out.with_name(f"{out.stem}-session.jsonl"))
        for slot in self.done():
            if self._starts is not None and self._starts.reference(slot.key) is None:
                raise SoarError(
                    f"{self._starts.path(slot.key)} is gone, the picture of a start from which a policy was tried: nobody can "
                    "restore that start. Put a copy of the picture back, or evaluate into a new folder."
                )
        for contender in contenders:
            write_evaluation(contender.out, contender.evaluation)  # fails now rather than after the first trial

    def done(self) -> list[Slot]:
        """Return the trials of the plan that were judged."""
        return self._plan.done(self._evaluations())

    def run(self) -> bool:
        """Go through the plan; False when the person stops before its end."""
        self._terminal.say(HELP)
        while (slot := self._plan.next(self._evaluations())) is not None:
            if not self._try(slot):
                self._terminal.say(f"Stopped: {len(self.done())} of {len(self._plan.slots)} trials are kept.")
                return False
        self._terminal.say(f"Enough: {len(self.done())} of {len(self._plan.slots)} trials were made. Thank you.")
        return True

    def _evaluations(self) -> list[Evaluation]:
        return [contender.evaluation for contender in self._contenders]

    def _try(self, slot: Slot) -> bool:
        """Make a trial and have it judged; False when the person stops. What is to be made next may be another one then."""
        contender = self._contenders[slot.contender]
        task = self._tasks[slot.key[1]]
        try:
            said = self._begin(slot)
            if said != "g":
                return said != "q"
            result, looked, _ = run_trial(
                self._workcell,
                task,
                contender.subgoal_model,
                contender.policy,
                seed=slot.key[2],
                config=contender.config.rollout,
                detector=contender.detector,
                attempts=1,
            )
        except (RobotFault, SafetyError) as error:
            return self._repeat(slot, "the robot failed", str(error))
        return self._judge(slot, task, result, looked)

    def _begin(self, slot: Slot) -> str:
        """Have the start set: g to go on, q to stop, u when a verdict was taken back."""
        if self._starts is None:
            return "g"
        robot, starts = self._workcell.robot, self._starts
        robot.home()
        reference = starts.reference(slot.key)

        def look() -> Image:
            live = robot.observe().image_HWC
            shown = live if reference is None else blended(reference, live)
            write_picture(self._picture, shown)
            return shown

        self._terminal.say(SET if reference is None else RESTORE.format(self._picture))
        said = "p"
        while said == "p":
            said, _ = self._terminal.ask_and_hear(look(), self._title(slot), ("g", "p", "u", "q"), meanwhile=look)
        if said == "u":
            self._take_back()
        elif said == "g" and reference is None:
            starts.keep(slot.key, robot.observe().image_HWC)
        return said

    def _judge(self, slot: Slot, task: Task, result: Rollout, looked: int) -> bool:
        while True:
            question = f"{self._title(slot)}. Did it work?"
            said, remark = self._terminal.ask_and_hear(result.images_THWC[-1], question, ("y", "n", "r", "f", "u", "q"))
            if said == "u":
                self._take_back()
            elif said == "r":
                return self._repeat(slot, "called off", remark, recover=False)
            elif said == "f":
                return self._repeat(slot, "the robot failed", remark)
            elif said == "q":
                return False
            else:
                break
        repeated = [event["reason"] for event in self._events("repeated", slot)]
        notes = [remark, *(f"repeated {repeated.count(reason)} x: {reason}" for reason in dict.fromkeys(repeated))]
        label = self._label(said, remark)
        contender = self._contenders[slot.contender]
        trial = trial_of(slot.key, result, looked=looked, success=said == "y", note="; ".join(filter(None, notes)))
        if slot.key in self._films:
            made_by = Provenance(
                policy=contender.policy.id,
                subgoal_model="" if contender.subgoal_model is None else contender.subgoal_model.id,
                robot=self._workcell.name,
                run=contender.config.variant,
                seed=slot.key[2],
            )
            keep_film(
                Path(contender.config.films),
                result,
                scene=slot.key[0],
                instruction=task.instruction,
                label=label,
                made_by=made_by,
            )
        self._record(slot, lambda trials: [*trials, trial])
        self._journal.append("verdict", **_about(slot), success=trial.success, note=trial.note)
        return True

    def _take_back(self) -> None:
        """Have the last verdict given anew, or its trial repeated."""
        done = self.done()
        if not done:
            self._terminal.say("There is no verdict to take back.")
            return
        slot = done[-1]
        said, remark = self._terminal.ask_and_hear(
            None, f"{self._title(slot)}. Did it work (r: repeat it, u: as it was)?", ("y", "n", "r", "u")
        )
        if said == "u":
            return
        self._journal.append("taken_back", **_about(slot), instead=said)
        label = None if said == "r" else self._label(said, remark)
        judge_film_anew(Path(self._contenders[slot.contender].config.films), *slot.key, label)

        def changed(trials: list[Trial]) -> list[Trial]:
            if said == "r":
                return [trial for trial in trials if trial.key != slot.key]
            return [
                replace(trial, success=said == "y", note=remark or trial.note) if trial.key == slot.key else trial
                for trial in trials
            ]

        self._record(slot, changed)

    def _repeat(self, slot: Slot, reason: str, detail: str, *, recover: bool = True) -> bool:
        """Note that a trial is repeated and bring the robot back; False when the person stops."""
        self._journal.append("repeated", **_about(slot), reason=reason, detail=detail)
        while recover:
            said = self._terminal.ask_and_hear(
                None, f"{reason}{f' ({detail})' if detail else ''}: the trial is repeated. g: recover the robot", ("g", "q")
            )[0]
            if said == "q":
                return False
            try:
                self._workcell.robot.recover()
            except RobotFault as fault:
                if fault.kind == "unrecoverable":
                    raise
                reason, detail = "it did not recover", fault.detail
            else:
                break
        return True

    def _record(self, slot: Slot, change: Callable[[list[Trial]], list[Trial]]) -> None:
        contender = self._contenders[slot.contender]
        trials = sorted(change(list(contender.evaluation.trials)), key=lambda trial: trial.key)
        contender.evaluation = replace(contender.evaluation, trials=tuple(trials))
        write_evaluation(contender.out, contender.evaluation)

    def _events(self, name: str, slot: Slot) -> list[dict[str, object]]:
        about = _about(slot)
        return [event for event in read_journal(self._journal.path, name) if about.items() <= event.items()]

    def _label(self, said: str, remark: str) -> Label:
        return Label(success=said == "y", probability=None, source=self._who, answer=remark, time_s=time.time())

    def _title(self, slot: Slot) -> str:
        return f"Trial {slot.number} of {len(self._plan.slots)}: {slot.key[1]}"


def _about(slot: Slot) -> dict[str, object]:
    return {"task": slot.key[1], "seed": slot.key[2], "contender": slot.contender}
