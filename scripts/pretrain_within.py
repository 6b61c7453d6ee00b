"""The base models in a given time: record on every core, train on one GPU, correct, and say what came of it.

    python scripts/pretrain_within.py --minutes 10 --device cuda --out out

    record    demonstrations, then pictures, on all cores        as many worlds as there is time for
    probe     a few steps of each model, side by side            → samples a second, hence how many steps each may have
    train     policy, language, subgoal and vqa, side by side    → OUT/weights
    correct   attempts of these two (DAgger), then `subgoal_correction`  → OUT/weights/subgoal
    check     trials in the scene `unshifted`                    → OUT/unshifted.json

Nothing but this checkout is needed, and headless rendering (`MUJOCO_GL=egl`). OUT/report.json says what was made and how fast;
OUT/plan.yaml is the preset that the time allowed. Called again with the same folder it goes on: worlds that are finished stay,
and so do the checkpoints of the plan. With `--initial src/soar/weights` the models continue from those that ship.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from soar.configuration import find, read_yaml

TRAINED = ("policy", "language", "subgoal", "vqa")
RECORD, TRAIN, CORRECT, CHECK = 0.40, 0.33, 0.20, 0.05
"""Shares of the time; what is left is slack."""
PICTURES = 0.4
"""Share of the recording that is pictures."""
PROBE_STEPS = 60
PATIENCE_S = 60
"""That a job has to stop in when it is interrupted."""
log = logging.getLogger("pretrain_within")


def main() -> int:
    """Run what there is time for."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)7.0f ms  %(message)s")
    run = _Run(options)
    run.record("demonstrations", RECORD * (1 - PICTURES))
    run.record("pictures", RECORD * PICTURES)
    plan = run.out / "plan.yaml"
    if not plan.exists():
        plan.write_text(yaml.safe_dump(run.planned(run.probe())))
    run.train(TRAINED, plan, until=RECORD + TRAIN)
    if run.trained("subgoal", "policy"):
        run.record("corrections", CORRECT / 3, preset=plan)
        run.train(("subgoal_correction",), plan, until=RECORD + TRAIN + CORRECT)
    if run.trained("policy", "subgoal"):
        run.check()
    run.report()
    return 0 if run.trained(*TRAINED) else 1


class _Run:
    """One run of the script: its folder, its clock, and the commands that it calls."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.out, self._options, self._begun = options.out, options, time.monotonic()
        self.out.mkdir(parents=True, exist_ok=True)
        self._preset = read_yaml(find("presets", options.preset))
        self._preset["workers"] = options.workers
        pretraining = self._preset["pretraining"]
        for name in ("demonstration_worlds", "picture_worlds", "correction_worlds"):
            pretraining[name] = options.worlds
        self._recording = self.out / "recording.yaml"
        self._recording.write_text(yaml.safe_dump(self._preset))
        self._facts: dict[str, Any] = {"minutes": options.minutes, "device": options.device, "cores": options.workers}

    def record(self, stage: str, share: float, preset: Path | None = None) -> None:
        """Record as many worlds of a stage as a share of the time allows."""
        seconds = share * self._options.minutes * 60
        log.info("%s: %.0f s", stage, seconds)
        self._wait({stage: self._pretrain((stage,), preset or self._recording)}, seconds)
        folder = self.out / "data" / ("demonstrations" if stage == "demonstrations" else "pictures") / "worlds"
        seed = {"demonstrations": 1, "pictures": 2, "corrections": 4}[stage]
        worlds = self._facts[f"{stage}: worlds"] = len(list(folder.glob(f"{seed}-*")))
        if not worlds and stage != "corrections":
            raise SystemExit(
                f"no world of {stage} was recorded in {seconds:.0f} s; give it more --minutes. See {self.out / 'log.txt'}"
            )

    def probe(self) -> dict[str, float]:
        """Return the steps a second of each model, measured while all are trained side by side."""
        preset = json.loads(json.dumps(self._preset))
        for name in ("policy", "subgoal", "vqa"):
            fit = preset["pretraining"][name]["fit"]
            fit |= {"steps": PROBE_STEPS, "checkpoint_every": PROBE_STEPS, "log_every": PROBE_STEPS // 3, "warmup_steps": 1}
        path = self.out / "probe.yaml"
        path.write_text(yaml.safe_dump(preset))
        folder = self.out / "probe"
        (folder / "data").mkdir(parents=True, exist_ok=True)
        for name in ("demonstrations", "pictures"):
            if not (link := folder / "data" / name).exists():
                link.symlink_to((self.out / "data" / name).resolve())
        jobs = {name: self._pretrain((name,), path, folder=folder) for name in TRAINED}
        self._wait(jobs, self._options.minutes * 60)
        speeds = {}
        for name in TRAINED:
            lines = (folder / "data" / "models" / name / "training" / "metrics.jsonl").read_text().splitlines()
            said = [json.loads(line) for line in lines]
            speeds[name] = [one["samples_per_s"] for one in said if "samples_per_s" in one][-1] / self._batch(name)
            log.info("%s: %.1f steps/s", name, speeds[name])
        self._facts["steps/s"] = {name: round(speed, 2) for name, speed in speeds.items()}
        return speeds

    def planned(self, speeds: dict[str, float]) -> dict[str, Any]:
        """Return the preset whose trainings end in time, at these speeds."""
        left = (RECORD + TRAIN) * self._options.minutes * 60 - self._elapsed()
        preset = json.loads(json.dumps(self._preset))
        seconds = {name: 0.9 * left for name in TRAINED} | {
            "subgoal_correction": 0.9 * CORRECT * 2 / 3 * self._options.minutes * 60
        }
        for name in ("policy", "subgoal", "vqa", "subgoal_correction"):
            speed = (
                min(speeds["policy"], speeds["language"])
                if name == "policy"
                else speeds[name.replace("subgoal_correction", "subgoal")]
            )
            fit = preset["pretraining"][name]["fit"]
            fit["steps"] = max(10, int(speed * seconds[name]))
            fit["warmup_steps"] = min(fit["warmup_steps"], fit["steps"] // 10 + 1)
            fit["checkpoint_every"] = max(1, fit["steps"] // 10)
        self._facts["steps"] = {name: preset["pretraining"][name]["fit"]["steps"] for name in seconds if name != "language"}
        return dict(preset)

    def train(self, stages: Sequence[str], plan: Path, until: float) -> None:
        """Train models side by side; what is not finished when the time is over keeps its checkpoints."""
        jobs = {stage: self._pretrain((stage,), plan, device=self._options.device) for stage in stages}
        self._wait(jobs, max(1.0, until * self._options.minutes * 60 - self._elapsed()))

    def trained(self, *models: str) -> bool:
        """Whether these models are finished."""
        return all((self.out / "weights" / model / "config.json").exists() for model in models)

    def check(self) -> None:
        """Try the new models where nothing is new but the layout."""
        weights, share = self.out / "weights", CHECK * self._options.minutes * 60
        command = ["evaluate", "--scene", "unshifted", "--trials", "25", "--out", str(self.out / "unshifted.json")]
        models = ["--policy", str(weights / "policy"), "--subgoals", str(weights / "subgoal")]
        self._wait({"check": self._soar(*command, *models, "--workers", str(self._options.workers))}, share)

    def report(self) -> None:
        """Write OUT/report.json."""
        manifest = self.out / "data" / "manifest.json"
        made = json.loads(manifest.read_text()) if manifest.exists() else {}
        self._facts |= {"seconds": round(self._elapsed()), "stages": made}
        (self.out / "report.json").write_text(json.dumps(self._facts, indent=1))
        log.info("%s", self.out / "report.json")

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _batch(self, name: str) -> int:
        fit = self._preset["pretraining"]["policy" if name == "language" else name]["fit"]
        return int(fit.get("batch_size", 256))

    def _pretrain(
        self, stages: Sequence[str], preset: Path, *, device: str | None = None, folder: Path | None = None
    ) -> subprocess.Popen[bytes]:
        where = folder or self.out
        arguments = ["--preset", str(preset), "--out", str(where / "data"), "--weights", str(where / "weights")]
        if self._options.initial:
            arguments += ["--initial", str(self._options.initial)]
        arguments += ["--corrections", self._options.corrections, "--device", device or self._options.device]
        return self._soar("pretrain", *arguments, "--stages", *stages)

    def _soar(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.out / "log.txt").open("ab") as output:
            environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
            return subprocess.Popen(
                [sys.executable, "-m", "soar.cli", *arguments], stdout=output, stderr=output, env=environment
            )

    def _wait(self, jobs: dict[str, subprocess.Popen[bytes]], seconds: float) -> None:
        """Wait for jobs; those that take longer are interrupted, and keep what they have finished."""
        end = time.monotonic() + seconds
        for name, job in jobs.items():
            try:
                job.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.info("%s: interrupted after %.0f s", name, seconds)
                job.send_signal(signal.SIGINT)
        for name, job in jobs.items():
            try:
                code = job.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                job.kill()
                code = job.wait()
            if code not in (0, 130, -signal.SIGINT):
                log.warning("%s ended with %d; see %s", name, code, self.out / "log.txt")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make the base models within a given time.")
    parser.add_argument("--out", type=Path, required=True, help="folder of recordings, models and report")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long it may take")
    parser.add_argument("--device", default="cuda", help="of torch")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that record")
    parser.add_argument("--worlds", type=int, default=7500, help="most worlds of each recording")
    parser.add_argument("--preset", default="laptop", help="name of the preset that the plan is made from, or its file's path")
    parser.add_argument("--corrections", default="words", help="how the models' own attempts are recorded, see `soar pretrain`")
    parser.add_argument("--initial", type=Path, help="folder of models to continue from")
    options = parser.parse_args()
    if options.minutes <= 0 or options.workers < 1 or options.worlds < 1:
        parser.error("--minutes, --workers and --worlds must be positive")
    return options


if __name__ == "__main__":
    sys.exit(main())
