"""Somebody else's learner or policy, on the scenes, episodes and starts of ours (docs/baselines.md, "Your method").

    shared episodes ──► learner: one policy for all scenes, for each seed ──► the same starts as ours ──► a row of the table

The shared episodes are what `soar reproduce figure5` collected, with the verdicts on them and no other labels: what only a
simulator knows is left out. Their digest says that two people learned from the same.

    RUN/shared            the shared episodes, and RUN/shared.json with their digest
    RUN/benchmark.json    who learned from which episodes; another learner, or other episodes, are another run
    RUN/policies/SEED     what the learner made
    RUN/evaluations       every trial, by scene and seed
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from soar.collect.models import ORACLE
from soar.episodes import EpisodeStore
from soar.episodes.schema import is_verdict
from soar.errors import CheckpointError, ConfigError, StoreError
from soar.evaluation.results import success_rows, write_results
from soar.evaluation.runner import evaluate
from soar.evaluation.statistics import Rate
from soar.evaluation.trials import Evaluation
from soar.experiments.runner import counted
from soar.files import write_json
from soar.policies.base import Policy
from soar.policies.loading import load_policy
from soar.references import build, is_reference, protocol_members
from soar.robots.workcell import SIMULATED
from soar.scenes import load_scene
from soar.training.checkpoints import claim
from soar.training.cotraining import AutonomousData
from soar.training.learner import Learner, LearningData

Progress = Callable[[str, int, int, str], None]
SCENES = tuple(f"scene{number}" for number in range(1, 11))
TRIALS, SEEDS = 100, 3
POLICY_FILE = "policy.yaml"
"""In a candidate's folder: how its policy is opened, where it is no policy of SOAR's."""
_BATCH = 32
_log = logging.getLogger(__name__)


def share(source: EpisodeStore, target: Path, report: Progress | None = None) -> str:
    """Copy the base's episodes without what only a simulator knows, as far as they are not there, and return their digest.

    Raises:
        StoreError: The source has no such episode, the simulator judged some, or the target cannot be written.
    """
    records = source.episodes("round = 0")
    if not records:
        raise StoreError(f"{source.uri} has no episode that a base collected (round 0): `soar reproduce figure5` collects some")
    told = {one.source for record in records for one in record.labels if is_verdict(one) and one.source.startswith(ORACLE)}
    if told:
        raise StoreError(
            f"{source.uri}: episodes were judged by the simulator ({', '.join(sorted(told))}), which a learner must not see. "
            "Share episodes that a model judged."
        )
    store = EpisodeStore(target, mode="open_or_create")
    have = {record.id for record in store.episodes()}
    wanted = sorted(record.id for record in records if record.id not in have)
    read = source.read_many(wanted)
    for start in range(0, len(wanted), _BATCH):
        batch = list(itertools.islice(read, _BATCH))
        store.append([replace(one, labels=tuple(filter(is_verdict, one.labels))) for one in batch])
        if report:
            report("share episodes", min(start + _BATCH, len(wanted)), len(wanted), "")
    found = digest(store)
    write_json(target.with_suffix(".json"), {"episodes": len(store.episodes()), "digest": found})
    return found


def digest(store: EpisodeStore) -> str:
    """Return what tells these episodes from others: ids, instructions, verdicts, states, actions; not order, nor pictures.

    Raises:
        StoreError: There are none.
    """
    parts, records = [], store.episodes()
    if not records:
        raise StoreError(f"{store.uri} has no episodes")
    # All rows at once: each call reads the store's vectors from end to end.
    rows = [np.arange(record.first_row, record.first_row + record.length + 1) for record in records]
    states_ND, actions_ND = store.vectors(np.concatenate(rows))
    ends = np.cumsum([len(own) for own in rows])[:-1]
    for record, states, actions in zip(records, np.split(states_ND, ends), np.split(actions_ND, ends), strict=True):
        said = f"{record.id}\n{record.scene}\n{record.instruction}\n{record.success}\n".encode()
        parts.append(hashlib.sha256(said + states.tobytes() + np.nan_to_num(actions).tobytes()).digest())
    return hashlib.sha256(b"".join(sorted(parts))).hexdigest()[:16]


def opened(name: str) -> Learner | Policy:
    """Return what is to be measured: the learner that `MODULE:NAME` makes, or a policy by any name.

    Raises:
        ConfigError: It is neither.
    """
    if not is_reference(name):
        return load_policy(name)
    found = build(name, "learner")
    for protocol in (Learner, Policy):
        if isinstance(found, protocol):
            return found
    lacks = {
        one.__name__: ", ".join(sorted(member for member in protocol_members(one) if not hasattr(found, member)))
        for one in (Learner, Policy)
    }
    raise ConfigError(
        f"{name} is a {type(found).__name__}, and neither a learner (it lacks {lacks['Learner']}) nor a policy (it lacks "
        f"{lacks['Policy']}): see soar.training.learner.Learner and soar.policies.base.Policy"
    )


def policy_in(folder: Path) -> str:
    """Return by what name the policy is opened that a learner left in a folder.

    Raises:
        CheckpointError: There is none.
    """
    name = str(folder / POLICY_FILE if (folder / POLICY_FILE).is_file() else folder)
    try:
        load_policy(name)
    except CheckpointError as error:
        raise CheckpointError(
            f"the learner left no policy in {folder} ({error}). It leaves one of SOAR's, or {POLICY_FILE}: `backend: "
            "MODULE:NAME` and the arguments of your class."
        ) from error
    return name


def benchmark(
    name: str,
    *,
    run: Path,
    results: Path,
    pretraining: Path,
    collected: Path,
    subgoals: str,
    base: Path | None = None,
    checksum: str = "",
    scenes: Sequence[str] = SCENES,
    trials: int = TRIALS,
    seeds: int = SEEDS,
    workers: int = 2,
    command: str = "soar benchmark",
    report: Progress,
) -> list[dict[str, Any]]:
    """Train where there is a learner, measure, write the results file, and return its rows; resumes.

    Args:
        name: `MODULE:NAME` of a learner or a policy, or a policy by any other name.
        run: Folder of the run.
        results: The results file.
        pretraining: Store of demonstrations.
        collected: Store of what was collected; its episodes are shared out without the truth.
        subgoals: The subgoal model, for a policy that reaches images of goals.
        base: Folder of the policy that the learner may go on from; None to begin with nothing.
        checksum: Digest that the shared episodes must have; empty for any.
        scenes: In which it is tried.
        trials: In each scene, shared out over its tasks.
        seeds: Training seeds of a learner.
        workers: Processes that simulate.
        command: What the results file says regenerates it.
        report: Progress: (what, done, in all, note).

    Raises:
        ConfigError: It is neither learner nor policy, the episodes have another digest, the run is another one's, or the
            learner changed the episodes.
        StoreError: There is nothing to share.
        CheckpointError: The learner left no policy, or the base is none that it can go on from.
    """
    method, label, caption = opened(name), label_of(name), ""
    policies = [name]
    if isinstance(method, Learner):
        base_id = "" if base is None else method.check(base)
        found = share(EpisodeStore(collected), run / "shared", report)
        if checksum and found != checksum:
            raise ConfigError(
                f"the shared episodes have digest {found}, and {checksum} was asked for: these are other episodes. Take the "
                "published ones, or collect them with `soar reproduce figure5`"
            )
        data = LearningData(pretraining=pretraining, autonomous=AutonomousData(store=run / "shared", success_only=False))
        what = {"method": name, "base": str(base_id), "episodes": found, "demonstrations": digest(EpisodeStore(pretraining))}
        claim(run / "benchmark.json", what, {})
        caption = f"Learned from {run / 'shared'} (digest {found}) and {pretraining} (digest {what['demonstrations']})."
        policies = []
        for seed in range(seeds):
            folder = run / "policies" / str(seed)
            report(f"train {seed}", 0, 1, "begins")
            method.learn(base, data, folder, seed=seed, on_step=functools.partial(_report_step, report, f"train {seed}"))
            if (now := digest(EpisodeStore(run / "shared"))) != found:
                raise ConfigError(
                    f"{name} with seed {seed} changed {run / 'shared'}, from which other seeds learn, too (digest {found} "
                    f"before, {now} now): learn() leaves the data as they are. Copy what it changes into its folder, and begin "
                    "with another --run."
                )
            policies.append(policy_in(folder))
    evaluations: list[tuple[int, Evaluation]] = []
    # Seeds that made one and the same policy would do the same from the same starts: that counts once.
    measured = {load_policy(policy).id: (seed, policy) for seed, policy in reversed(list(enumerate(policies)))}
    if len(measured) < len(policies):
        _log.warning("%d seeds made %d different policies: only these are measured", len(policies), len(measured))
    for seed, policy in sorted(measured.values()):
        for scene in dict.fromkeys(scenes):
            tasks = [task.instruction for task in load_scene(scene).tasks]
            each = -(-trials // len(tasks))
            evaluation = evaluate(
                policy,
                workcell=SIMULATED + scene,
                subgoals=subgoals,
                trials=each,
                out=run / "evaluations" / load_scene(scene).name / f"{label}-{seed}.json",
                variant=label,
                workers=workers,
                on_trial=functools.partial(_report_trial, report, f"try in {scene}"),
            )
            evaluations.append((seed, counted(evaluation, scene, tasks, range(each))))
            rows = [
                row | {"training_seed": number, "policy": one.policy}
                for number, one in evaluations
                for row in success_rows([one])
            ]
            write_results(results, command, rows, caption)
    return rows


def label_of(name: str) -> str:
    """Return what a method is called in tables: the name of its class, or of its folder or file."""
    return Path(name.rpartition(":")[2]).name


def _report_step(report: Progress, what: str, done: int, total: int, _metrics: dict[str, float]) -> None:
    report(what, done, total, "")


def _report_trial(report: Progress, what: str, done: int, total: int, rate: float) -> None:
    report(what, done, total, f"success {rate:.2f}")


def table_row(label: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return the method's row of the table of all methods, as Markdown: a rate a scene, and all of them."""
    scenes = list(dict.fromkeys(row["scene"] for row in rows))
    rates = {
        scene: sum(
            (Rate(successes=row["successes"], trials=row["trials"]) for row in rows if row["scene"] == scene),
            Rate(successes=0, trials=0),
        )
        for scene in scenes
    }
    whole = sum(rates.values(), Rate(successes=0, trials=0))
    head = f"| method | {' | '.join(scenes)} | all |"
    return "\n".join(
        [head, "|" + " --- |" * (len(scenes) + 2), f"| {label} | {' | '.join(map(str, rates.values()))} | {whole} |"]
    )
