"""Results files: `results/NAME.json`, the source of every figure that the README and the docs state.

{"name", "command", "revision", "date", "machine", "rows": [...]}
success rates   row: {"variant", "scene", "task", "successes", "trials"}
courses         row: {"scene", "variant", "trials", "success", "steps", "reflexes", "looks", "ended early", "accuracy", …}
benchmarks      row: {"metric", "ours", "peer", "theirs", "ratio", "limit"}
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from soar.errors import SoarError
from soar.evaluation.statistics import Rate
from soar.evaluation.trials import Evaluation, Trial, read_json_object
from soar.files import write_json


def success_rows(evaluations: Iterable[Evaluation]) -> list[dict[str, Any]]:
    """Return one row a variant, scene and task."""
    rows = []
    for evaluation in evaluations:
        rates: dict[tuple[str, str], Rate] = {}
        for trial in evaluation.trials:
            key = trial.scene, trial.task
            rates[key] = rates.get(key, Rate(successes=0, trials=0)) + Rate(successes=trial.success, trials=1)
        for (scene, task), rate in rates.items():
            rows.append(
                {
                    "variant": evaluation.variant,
                    "scene": scene,
                    "task": task,
                    "successes": rate.successes,
                    "trials": rate.trials,
                }
            )
    return rows


def course_rows(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Return what reflex and looks cost and did, one row a variant and scene, and one a variant over all scenes.

    The last columns measure who looked, for whom an attempt that looks ended is a success. They are empty without looks.
    """
    groups: dict[tuple[str, str], list[Trial]] = {}
    looked = {evaluation.variant: bool(evaluation.looked_by) for evaluation in evaluations}
    for evaluation in evaluations:
        for scene in (*dict.fromkeys(trial.scene for trial in evaluation.trials), "all"):
            own = [trial for trial in evaluation.trials if scene in (trial.scene, "all")]
            groups.setdefault((scene, evaluation.variant), []).extend(own)
    order = sorted(groups, key=lambda key: key[0] == "all")
    return [
        {"scene": scene, "variant": variant, **_course(groups[scene, variant], looked[variant])} for scene, variant in order
    ]


def _course(trials: Sequence[Trial], looked: bool) -> dict[str, Any]:
    count = len(trials)
    ended = [trial for trial in trials if trial.ended_early]
    right = sum(trial.success for trial in ended)
    correct = sum(trial.success == trial.ended_early for trial in trials)
    judged = {
        "accuracy": Rate(successes=correct, trials=count),
        "precision": Rate(successes=right, trials=len(ended)),
        "recall": Rate(successes=right, trials=sum(trial.success for trial in trials)),
    }
    return {
        "trials": count,
        "success": str(Rate(successes=sum(trial.success for trial in trials), trials=count)),
        "steps": round(sum(trial.steps for trial in trials) / count, 1),
        "reflexes": round(sum(trial.reflexes for trial in trials) / count, 2),
        "looks": round(sum(trial.looks for trial in trials) / count, 1),
        "ended early": len(ended),
        **{name: str(rate) if looked else "" for name, rate in judged.items()},
    }


def write_results(path: Path, command: str, rows: Sequence[Mapping[str, Any]], caption: str = "") -> None:
    """Write a results file atomically; its name is the file's stem.

    Args:
        path: `results/NAME.json`.
        command: What regenerates it.
        rows: See the module's docstring.
        caption: What is to be said under the table.
    """
    write_json(
        path,
        {
            "name": path.stem,
            "command": command,
            "revision": revision(path.parent),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            **({"caption": caption} if caption else {}),
            "rows": [dict(row) for row in rows],
        },
    )


def read_results(path: Path) -> dict[str, Any]:
    """Read a results file.

    Raises:
        SoarError: It is missing, not JSON, or has no rows.
    """
    data = read_json_object(path)
    if not isinstance(data.get("rows"), list) or not all(isinstance(row, dict) for row in data["rows"]):
        raise SoarError(f"{path}: a results file needs `rows`, a list of objects. Run its command again: {data.get('command')}")
    return data


def revision(folder: Path) -> str:
    """Return the git revision that `folder` is at, with `+` when it has uncommitted changes; `unknown` outside of git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=folder if folder.is_dir() else None,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()
