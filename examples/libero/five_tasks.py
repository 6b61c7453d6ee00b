"""Before and after practice on five tasks of LIBERO: `python five_tasks.py --help`.

Serves each task's robot from LIBERO's environment and runs `soar improve` on it, nobody present, two tasks at a time; the same
command goes on where it was stopped. What was tried before and after the same starts goes to `--results`.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from soar.evaluation.paired import paired_rows
from soar.evaluation.results import success_rows, write_results
from soar.evaluation.trials import Evaluation, read_evaluation

HERE = Path(__file__).parent
THINGS = {0: "alphabet soup", 3: "bbq sauce", 4: "ketchup", 5: "tomato sauce", 7: "milk"}
VARIANTS = {"000": "demonstrations", "001": "practised"}


def practise(task: int, told: argparse.Namespace) -> None:
    """Serve one task, and let the policy practise there."""
    folder = told.runs / f"task-{task}"
    folder.mkdir(parents=True, exist_ok=True)
    serve = [told.there, "-m", "soar", "robot", "serve", "--robot", "robot.yaml", "--option", f"task={task}", "--port", "0"]
    with (
        (folder / "robot.log").open("w") as said,
        subprocess.Popen(serve, cwd=HERE, stdout=subprocess.PIPE, stderr=said, text=True) as robot,
    ):
        assert robot.stdout is not None
        try:
            url = next((line.split()[-1] for line in robot.stdout if " is served at " in line), None)
            if url is None:
                raise RuntimeError(f"task {task}: LIBERO's robot did not start; {folder / 'robot.log'} says why")
            text = (HERE / "workcell.yaml").read_text(encoding="utf-8").replace("http://127.0.0.1:8124", url)
            text = text.replace("libero-object-0", f"libero-object-{task}").replace("can of alphabet soup", THINGS[task])
            (folder / "workcell.yaml").write_text(text.replace("alphabet soup", THINGS[task]), encoding="utf-8")
            command = [sys.executable, "-m", "soar", "improve", "--workcell", folder / "workcell.yaml", "--run", folder / "run"]
            command += ["--policy", told.policy, "--pretraining", told.demonstrations]
            command += ["--vlm", "truth", "--preset", HERE / "practise.yaml", *told.more]
            with (folder / "improve.log").open("a") as said_here:
                subprocess.run([str(word) for word in command], check=True, stdout=said_here, stderr=said_here)
        finally:
            robot.terminate()


def main() -> None:
    """Let the policy practise each task, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="What else is said goes to `soar improve`.")
    parser.add_argument("--there", type=Path, required=True, help="the Python of LIBERO's environment")
    parser.add_argument("--policy", type=Path, required=True, help="what `soar train lcbc` made of the demonstrations")
    parser.add_argument("--demonstrations", required=True, help="their store")
    parser.add_argument("--runs", type=Path, default=Path("runs/libero"))
    parser.add_argument("--results", type=Path, default=Path("results/libero.json"))
    parser.add_argument("--tasks", type=int, nargs="+", default=list(THINGS), choices=list(THINGS))
    parser.add_argument("--workers", type=int, default=2, help="tasks at a time")
    told, told.more = parser.parse_known_args()
    told.runs = told.runs.resolve()
    os.environ.setdefault("SOAR_TOKEN", secrets.token_hex())
    os.environ.setdefault("LP_NUM_THREADS", "0")  # one thread draws small pictures sooner than many
    with ThreadPoolExecutor(told.workers) as pool:
        list(pool.map(lambda task: practise(task, told), told.tasks))
    tried: dict[tuple[str, str], list[Evaluation]] = {}
    for task in told.tasks:
        for number, variant in VARIANTS.items():
            one = read_evaluation(told.runs / f"task-{task}" / "run" / "evaluations" / f"{number}.json")
            tried[f"task {task}", variant] = [replace(one, variant=variant)]
    command = (
        f"examples/libero/five_tasks.py --there LIBERO/bin/python --policy {told.policy} --demonstrations {told.demonstrations}"
    )
    write_results(told.results, command, success_rows(one for group in tried.values() for one in group))
    write_results(told.results.with_stem(f"{told.results.stem}-paired"), command, paired_rows(tried))


if __name__ == "__main__":
    main()
