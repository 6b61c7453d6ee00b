"""`soar evaluate`."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from soar.cli.flags import LookEvery, Switch, on, opening, rollout_of, workcell_name

if TYPE_CHECKING:
    from soar.evaluation import Evaluation
    from soar.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a policy, or compare several start by start: trials on a workcell, judged by its truth, by you, or by a model.

    Example: soar evaluate --scene scene1 --policy runs/scene1/policies/001 --trials 50 --out runs/scene1/evaluations/mine.json

    Example: soar evaluate --workcell bench.yaml --policy A B --judge person --judge-name ada --trials 20 --out a-b.json
    """

    workcell: str | None = None
    """A robot in front of a scene: name of a workcell, or path of its YAML file (docs/how-to/your-robot.md)."""
    scene: str | None = None
    """The simulated workcell of a scene: its name, or path of its YAML file. scene1, when no workcell is named."""
    policy: tuple[str, ...] = ()
    """Folder of the policy, or URL of one behind `soar serve`; the base policy that comes with SOAR by default. Several are
    compared from the same starts, each with the first."""
    subgoals: str | None = None
    """Folder of the subgoal model, YAML file of one, or `oracle`; the one that comes with SOAR by default. A
    language-conditioned policy needs none; one that takes both follows the instruction alone with `none`."""
    trials: int = 50
    """Of each task."""
    first_trial: int = 0
    """Index of the first start of each task; tune on other starts than those that you report."""
    out: Path
    """The JSON file of the evaluation; what it holds already is not run again. Of several policies NAME-1.json, NAME-2.json, …
    are the files."""
    variant: str = ""
    """What the policy is in a comparison; the file's name by default."""
    task: tuple[str, ...] = ()
    """Some of the scene's instructions; all by default."""
    action_scale: float = 1.0
    """Factor on the policy's motions."""
    image_size: int | None = None
    """Of a simulated camera [px]; the policy's by default."""
    retries: int = 0
    """How often in an episode a robot that stands still may open its hand, back off and get a new subgoal."""
    look_every: LookEvery = 0
    """Steps between two looks of the VLM; two in a row that see success end the attempt. `subgoal` for a look at the end of
    each subgoal, one of which ends it; 0 for no looks."""
    judge: Literal["truth", "person", "vlm"] = "truth"
    """Who says whether it worked: the workcell's truth (a simulator's state), a person at this terminal, who sets the starts
    and does not see which policy acts (docs/how-to/judging.md), or the vision-language model."""
    judge_name: str = ""
    """Who you are, with --judge person."""
    ask: Literal["terminal", "page"] = "terminal"
    """Where the person is asked, with --judge person: at this terminal, or on a page of `soar console RUN`, with --out in
    RUN/evaluations."""
    stop_early: Switch | None = None
    """With a person and several policies: end as soon as the comparison is decided, or cannot be any more; on by default."""
    seed: int = 0
    """Of the order in which a person tries several policies."""
    vlm: str | None = None
    """The model that looks, and that judges with --judge vlm: folder, YAML file, or MODULE:NAME; the one that comes with SOAR
    by default."""
    threshold: float = 0.5
    """Least probability at which it says success."""
    sees: str = "last"
    """What of an attempt it judges by: `last` frame, `changed`, `looks:8`, `film:8` … (docs/how-to/foundation-models.md)."""
    questions: Path | None = None
    """YAML file of reviewed questions (`soar tasks questions` writes one); the scene's by default."""
    workers: int = 2
    """Processes."""

    def run(self) -> None:
        """Run it."""
        # Whoever judges by eye must not read which policies there are.
        policies = ["the policies"] if self.judge == "person" else self.policy or ["the base policy"]
        opening(workcell_name(self.workcell, self.scene), *policies)

        from soar.cli.tables import print_rates, say
        from soar.errors import ConfigError
        from soar.evaluation.comparison import compare_all

        several = len(self.policy) > 1
        if several and self.variant:
            raise ConfigError("--variant names one policy, and there are several: leave it out, the files' names are used")
        if self.ask == "page" and self.judge != "person":
            raise ConfigError("--ask page is how a person is asked: use it with --judge person")
        if self.stop_early == "on" and not (several and self.judge == "person"):
            raise ConfigError("--stop-early on: only a comparison of several policies by --judge person can be stopped early")
        outs = (
            [self.out.with_name(f"{self.out.stem}-{n}.json") for n in range(1, len(self.policy) + 1)] if several else [self.out]
        )
        evaluations = self._by_person(outs) if self.judge == "person" else self._by_itself(outs)
        if evaluations is None:
            say("The policies stay unnamed and their rates unsaid until the end: the same command goes on.")
            return
        print_rates(evaluations)
        for path, evaluation in zip(outs, evaluations, strict=True):
            say(f"{evaluation.variant}: {evaluation.policy}, {path}")
            for more in filter(None, (evaluation.left_out, evaluation.saved)):
                say(f"{more}.")
        early = self.judge == "person" and on(self.stop_early) is not False
        for comparison in compare_all(evaluations) if several else []:
            say(comparison.sentence)
            if not early:  # McNemar's test holds for a number of trials that nobody chose while looking
                say(f"As promotion decides: {comparison.promotion.sentence}")

    def _policies(self) -> list[str]:
        from soar.base_models import policy_named

        return [policy_named(name) for name in self.policy or ("",)]

    def _by_itself(self, outs: list[Path]) -> list[Evaluation]:
        from soar.base_models import default_weights
        from soar.cli.progress import progress_bars
        from soar.collect.rollout import RolloutConfig
        from soar.evaluation.runner import evaluate
        from soar.policies.loading import load_policy
        from soar.training.served import served

        evaluations = []
        with progress_bars() as report, contextlib.ExitStack() as serving:
            for policy in self._policies():
                serving.enter_context(served(Path(policy)))
            for policy in self._policies()[1:]:
                load_policy(policy)  # one that is not there is said before the first is tried for an hour
            for number, (policy, out) in enumerate(zip(self._policies(), outs, strict=True), start=1):
                phase = "trials" if len(outs) == 1 else f"trials of policy {number}"
                evaluations.append(
                    evaluate(
                        policy,
                        workcell=workcell_name(self.workcell, self.scene),
                        subgoals=self.subgoals or str(default_weights("subgoal")),
                        trials=self.trials,
                        first_trial=self.first_trial,
                        out=out,
                        variant=self.variant or out.stem,
                        tasks=self.task,
                        workers=self.workers,
                        action_scale=self.action_scale,
                        image_size=self.image_size,
                        rollout=rollout_of(RolloutConfig(), self.retries, self.look_every),
                        judge="vlm" if self.judge == "vlm" else "truth",
                        vlm=self.vlm or str(default_weights("vqa")),
                        threshold=self.threshold,
                        sees=self.sees,
                        questions=self.questions,
                        on_trial=functools.partial(_report_trial, report, phase),
                    )
                )
        return evaluations

    def _by_person(self, outs: list[Path]) -> list[Evaluation] | None:
        """Return the evaluations, None when the person stopped before the end."""
        from soar.base_models import default_weights
        from soar.collect.rollout import RolloutConfig
        from soar.evaluation.dialogue import PageDialogue
        from soar.evaluation.person import evaluate_by_person

        dialogue = PageDialogue(self.out) if self.ask == "page" else None
        with contextlib.ExitStack() as asking:
            if dialogue is not None:
                asking.callback(dialogue.close)
            judged = evaluate_by_person(
                self._policies(),
                name=self.judge_name,
                workcell=workcell_name(self.workcell, self.scene),
                subgoals=self.subgoals or str(default_weights("subgoal")),
                trials=self.trials,
                outs=outs,
                variants=[self.variant or out.stem for out in outs],
                out=self.out,
                tasks=self.task,
                first_trial=self.first_trial,
                seed=self.seed,
                stop_early=on(self.stop_early) is not False,
                action_scale=self.action_scale,
                image_size=self.image_size,
                questions=self.questions,
                rollout=rollout_of(RolloutConfig(), self.retries, self.look_every),
                vlm=self.vlm or (str(default_weights("vqa")) if self.look_every else ""),
                threshold=self.threshold,
                sees=self.sees,
                terminal=dialogue,
            )
        return list(judged.evaluations) if judged.finished else None


def _report_trial(report: Progress, phase: str, done: int, total: int, rate: float) -> None:
    report(phase, done, total, f"success {rate:.2f}")
