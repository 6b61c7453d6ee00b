"""`soar reproduce`: the experiments behind the figures that README and docs state."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from soar.cli.flags import changed, invocation

if TYPE_CHECKING:
    from soar.base_models import Kind
    from soar.collect.models import Models

LEARNING_CURVE = "learning-curve"
APPENDIX_D = "appendix-d"
JUDGES = "judges"
MAIN = "figure5"
"""The experiment whose collection is the one that the docs describe."""
PICTURE = Path("docs/images/learning-curve.svg")


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """Run an experiment: collect once, train every variant with several seeds, evaluate all on the same starts.

    `learning-curve` is another kind: one pre-training run of the preset, whose checkpoints are tried in the scene `unshifted`.
    So is `appendix-d`: two policies from the same demonstrations collect in the same scenes, judged by the same model; and
    `judges`: the base collects, and judges that see less and more of an attempt are compared by the simulator's truth. The
    paper's tables (`table1`, `table2`) have their claims beside ours in NAME-paper.json.

    What is finished is not run again, so it can be stopped and continued. Beside the results file NAME.json stand
    NAME-paired.json, the variants compared start by start, NAME.svg, the rates as a figure (over rounds, where a variant is
    another's next round), NAME-course.json, what retries and looks cost, where variants differ in them, and, of an experiment
    that collects, NAME-detector.json, NAME-collection.json and NAME-attempts.json (figure5's without NAME). `make tables` draws
    the tables.

    Example: soar reproduce figure5

    Example: soar reproduce figure5 --scenes scene1 scene5 --budget 0.1 --results results/small.json

    Example: soar reproduce limits --variants pretrained scene "in-scene upper bound"
    """

    experiment: Annotated[str, tyro.conf.Positional]
    """Name under configs/reproduce, path of a YAML file, `learning-curve`, `appendix-d`, or `judges`."""
    run_folder: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Folder of dataset, policies and evaluations, for example another experiment's, whose episodes are then used;
    by default runs/reproduce-EXPERIMENT, or that of the experiment on whose episodes it builds. With it nothing is
    written about the collection."""
    scenes: tuple[str, ...] = ()
    """Some of the scenes; all by default."""
    variants: tuple[str, ...] = ()
    """Some of the variants; all by default."""
    budget: float = 1.0
    """Share of the experiment's episodes and trials."""
    seeds: int | None = None
    """Training runs of each trained variant; the experiment's number by default."""
    results: Path | None = None
    """The results file; results/EXPERIMENT.json by default."""
    pretraining: Path = Path("data/demonstrations/episodes")
    """Store of the base's demonstrations; `soar pretrain --stages demonstrations` records it."""
    policy: Path | None = None
    """Folder of the base policy; the one that comes with SOAR by default."""
    language: Path | None = None
    """Folder of the base policy that follows instructions, for variants that do; the one that comes with SOAR by default."""
    both: Path | None = None
    """Folder of the base policy that takes goal images and instructions, for variants that do; `soar pretrain --stages both`
    makes one."""
    subgoals: str | None = None
    """Folder of the subgoal model, or `oracle`; the one that comes with SOAR by default."""
    vlm: str | None = None
    """Folder of the VQA model, or `oracle`; the one that comes with SOAR by default."""
    preset: str = "laptop"
    """Name of a preset, or path of its YAML file."""
    workers: int = 2
    """Processes."""

    def run(self) -> None:
        """Run it."""
        from soar.base_models import default_weights
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.configuration import load
        from soar.evaluation.paired import paired_rows
        from soar.evaluation.results import course_rows, read_results, write_results
        from soar.experiments.collection_tables import attempt_rows, collection_rows, detector_rows
        from soar.experiments.config import Experiment
        from soar.experiments.learning_curve import learning_curve
        from soar.experiments.paper import caption, paper_rows
        from soar.experiments.robot_hours import hour_rows
        from soar.experiments.runner import reproduce
        from soar.reports.plots import bars, hour_curves, round_curve, save
        from soar.run_claim import only_here

        name = Path(self.experiment).stem
        results = self.results or Path("results") / f"{name.replace('-', '_')}.json"
        if self.experiment == LEARNING_CURVE:
            run = self.run_folder or Path("runs") / LEARNING_CURVE
            with only_here(run), progress_bars() as report:
                learning_curve(
                    preset=self.preset,
                    pretraining=self.pretraining,
                    run=run,
                    results=self.results or Path("results/learning_curve.json"),
                    picture=PICTURE,
                    workers=self.workers,
                    report=report,
                )
            say(f"the curve is in {PICTURE}; `make tables` draws the table")
            return
        if self.experiment == APPENDIX_D:
            self._appendix_d()
            return
        if self.experiment == JUDGES:
            self._judges()
            return
        experiment = load(Experiment, "reproduce", self.experiment).restricted(self.scenes, self.variants, self.budget)
        run = self.run_folder or Path("runs") / f"reproduce-{experiment.episodes_of or name}"
        experiment = changed(experiment, training_seeds=self.seeds)
        told = {variant.conditioning for variant in experiment.variants.values()} - {"goal"}
        named: dict[Kind, Path | None] = {"language": self.language, "both": self.both}
        bases = {str(kind): str(folder or default_weights(kind)) for kind, folder in named.items() if kind in told}
        models = ("policy", "language", "both", "subgoals", "vlm", "preset")
        decide = ("scenes", "variants", "budget", "seeds", "run_folder", *models)
        command = invocation(f"soar reproduce {shlex.quote(self.experiment)}", self, *decide)
        with only_here(run), progress_bars() as report:
            evaluations = reproduce(
                experiment,
                run=run,
                models=self._models(),
                bases=bases,
                preset=self.preset,
                pretraining=self.pretraining,
                results=results,
                command=command,
                workers=self.workers,
                report=report,
            )
        write_results(results.with_stem(f"{results.stem}-paired"), command, paired_rows(evaluations))
        if any(variant.rollout for variant in experiment.variants.values()):
            courses = course_rows([one for group in evaluations.values() for one in group])
            write_results(results.with_stem(f"{results.stem}-course"), command, courses)
        rows, learned_from = read_results(results)["rows"], experiment.rounds()
        if claims := paper_rows(name, evaluations):
            write_results(results, command, rows, caption(name, claims))
            write_results(results.with_stem(f"{results.stem}-paper"), command, claims, caption(name, claims))
        if any(variant.first_episodes for variant in experiment.variants.values()):
            rows = hour_rows(experiment, rows, run)
            write_results(results, command, rows)
            picture = hour_curves(rows, f"{name}: success against hours of the robot")
        elif learned_from:
            made = [
                row | {"episodes": learned_from[row["variant"]], "promoted": True}
                for row in rows
                if row["variant"] in learned_from
            ]
            picture = round_curve(made, f"{len(experiment.scenes)} scenes, a policy each")
        else:
            picture = bars(rows, f"{name}: success rate with 95 % intervals")
        save(picture, results.with_suffix(".svg"))
        collects = any(variant.data == "autonomous" for variant in experiment.variants.values()) and not experiment.episodes_of
        if collects and self.run_folder is None:
            prefix = "" if results.stem == MAIN else f"{results.stem}-"
            for what, rows_of in (("collection", collection_rows), ("detector", detector_rows), ("attempts", attempt_rows)):
                write_results(results.with_name(f"{prefix}{what}.json"), command, rows_of(run / "episodes"))
        say(f"results: {results} and files beside it; `make tables` draws them in README and docs")

    def _models(self) -> Models:
        from soar.base_models import default_weights
        from soar.collect.models import Models

        return Models(
            policy=str(self.policy or default_weights("policy")),
            subgoals=self.subgoals or str(default_weights("subgoal")),
            vlm=self.vlm or str(default_weights("vqa")),
        )

    def _appendix_d(self) -> None:
        from soar.base_models import default_weights
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.experiments.appendix_d import EPISODES, appendix_d
        from soar.run_claim import only_here

        run = self.run_folder or Path("runs/reproduce-appendix-d")
        results = self.results or Path("results/appendix_d.json")
        decide = ("scenes", "budget", "run_folder", "policy", "language", "subgoals", "vlm", "preset")
        with only_here(run), progress_bars() as report:
            appendix_d(
                models=self._models(),
                language=str(self.language or default_weights("language")),
                preset=self.preset,
                run=run,
                results=results,
                episodes=max(1, round(self.budget * EPISODES)),
                scenes=self.scenes,
                workers=self.workers,
                command=invocation(f"soar reproduce {APPENDIX_D}", self, *decide),
                report=report,
            )
        say(f"results: {results} and {results.with_stem(f'{results.stem}-rates')}; `make tables` draws them in README and docs")

    def _judges(self) -> None:
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.experiments.judges import EPISODES, compare_judges
        from soar.run_claim import only_here

        run = self.run_folder or Path("runs/reproduce-judges")
        results = self.results or Path("results/judges.json")
        with only_here(run), progress_bars() as report:
            compare_judges(
                models=self._models(),
                preset=self.preset,
                run=run,
                results=results,
                episodes=max(1, round(self.budget * EPISODES)),
                scenes=self.scenes,
                workers=self.workers,
                command=invocation(
                    f"soar reproduce {JUDGES}", self, "scenes", "budget", "run_folder", "policy", "subgoals", "vlm", "preset"
                ),
                report=report,
            )
        say(f"results: {results}; `make tables` draws it in README and docs")
