"""`soar train robofume` and `soar train dial-labeller`: the methods that the paper compares with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from soar.cli.flags import changed


@dataclass(frozen=True, kw_only=True)
class TrainRoboFuME:
    """Train an actor and critics on demonstrations and on attempts with verdicts, failures included (RoboFuME, Cal-QL).

    OUT is a policy that follows instructions like any other; OUT/critic holds its critics, which can re-rank another policy's
    actions (`soar evaluate`, a policy's YAML file with `backend: reranked`). docs/baselines.md says more.

    Example: soar train robofume --autonomous runs/mine/episodes --out policies/robofume
    """

    out: Path
    """Folder of the new policy and its critics."""
    pretraining: Path = Path("data/demonstrations/episodes")
    """Store of demonstrations, which count as successes unless they were judged otherwise."""
    autonomous: Path | None = None
    """Store of attempts; each needs a verdict."""
    where: str = ""
    """SQL that selects some of those."""
    label: Literal["vlm", "simulator"] = "vlm"
    """Whose verdict makes the rewards; the simulator's is for ablations."""
    initial: Path | None = None
    """Folder of an earlier run to go on from."""
    camera: str | None = None
    """Whose pictures it looks at: `main`, or a further camera of the episodes by name; the recipe's by default."""
    alpha: float | None = None
    """Weight of the conservative penalty; the recipe's by default."""
    bc_weight: float | None = None
    """Of imitating the data, relative to what the critics teach; the recipe's by default."""
    steps: int | None = None
    """Gradient steps; the recipe's by default."""
    batch_size: int | None = None
    """Samples a step; the recipe's by default."""
    recipe: str = "laptop"
    """Name under configs/baselines, or path of a YAML file (`extends: laptop`)."""
    set: tuple[str, ...] = ()
    """NAME=VALUE of the recipe that count more, such as robofume.rewards.success_reward=10."""
    seed: int = 0
    """Of everything random."""
    device: str = "cpu"
    """Of torch."""

    def run(self) -> None:
        """Run it."""
        import dataclasses

        from soar.baselines.config import load_recipe
        from soar.baselines.robofume import train_robofume
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.nn.devices import usable_device
        from soar.training.cotraining import AutonomousData

        config = load_recipe(self.recipe, self.set).robofume
        fit = changed(config.policy.fit, steps=self.steps, batch_size=self.batch_size, seed=self.seed)
        config = dataclasses.replace(
            config,
            policy=dataclasses.replace(config.policy, fit=fit, network=changed(config.policy.network, camera=self.camera)),
            critic=changed(config.critic, bc_weight=self.bc_weight),
            calql=changed(config.calql, alpha=self.alpha),
        )
        own = None
        if self.autonomous is not None:
            own = AutonomousData(store=self.autonomous, success_only=False, label=self.label, where=self.where)
        with progress_bars() as report:
            train_robofume(
                config,
                self.out,
                pretraining=self.pretraining,
                autonomous=own,
                initial=self.initial,
                device=usable_device(self.device),
                on_step=lambda done, total, metrics: report("training", done, total, _note(metrics)),
            )
        say(f"actor and critics are in {self.out}; measure the actor with `soar evaluate --policy {self.out} --out …`")


@dataclass(frozen=True, kw_only=True)
class TrainLabeller:
    """Tune a model that tells from the first and the last frame of an episode what was done in it (DIAL).

    Some demonstrations are held out, and OUT/quality.json says how often it names what was done in those.

    Example: soar train dial-labeller --out labellers/mine
    """

    out: Path
    """Folder of the labeller."""
    pretraining: Path = Path("data/demonstrations/episodes")
    """Store of demonstrations."""
    where: str = ""
    """SQL that selects some of them."""
    camera: str | None = None
    """Whose pictures it looks at: `main`, or a further camera of the episodes by name; the recipe's by default."""
    clip: str = ""
    """Folder of a CLIP checkpoint of `transformers`, which gives both towers; a small model of ours by default."""
    steps: int | None = None
    """Gradient steps; the recipe's by default."""
    batch_size: int | None = None
    """Samples a step; the recipe's by default."""
    recipe: str = "laptop"
    """Name under configs/baselines, or path of a YAML file."""
    set: tuple[str, ...] = ()
    """NAME=VALUE of the recipe that count more, such as labeller.network.image_size=224."""
    seed: int = 0
    """Of everything random."""
    device: str = "cpu"
    """Of torch."""

    def run(self) -> None:
        """Run it."""
        import dataclasses
        import json

        from soar.baselines.config import load_recipe
        from soar.baselines.labeller_training import train_labeller
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.nn.devices import usable_device

        config = load_recipe(self.recipe, self.set).labeller
        fit = changed(config.fit, steps=self.steps, batch_size=self.batch_size, seed=self.seed)
        network = changed(config.network, clip=self.clip or None, camera=self.camera)
        with progress_bars() as report:
            train_labeller(
                dataclasses.replace(config, fit=fit, network=network),
                self.out,
                pretraining=self.pretraining,
                where=self.where or None,
                device=usable_device(self.device),
                on_step=lambda done, total, metrics: report("training", done, total, _note(metrics)),
            )
        found = json.loads((self.out / "quality.json").read_text(encoding="utf-8"))
        say(
            f"the labeller is in {self.out}; of {found['episodes']} demonstrations held out it names the instruction in "
            f"{found['top1_in_world']} among those of its world (chance {found['chance_in_world']}). "
            f"Label episodes with `soar data label-dial STORE --labeller {self.out}`"
        )


def _note(metrics: dict[str, float]) -> str:
    shown = [name for name in ("loss", "td_error", "penalty", "bc_error", "top1") if name in metrics]
    return ", ".join(f"{name} {metrics[name]:.3g}" for name in shown)


@dataclass(frozen=True, kw_only=True)
class TrainOnline:
    """Let RoboFuME's actor and critics go on learning while they practise in simulation: a task and its way back by turns.

    A judged success ends an attempt; half of each batch is old data. Every attempt is in RUN/episodes, with the judge's verdict
    and the truth; RUN is a policy at the end. What is finished is not done again.

    Example: soar train robofume-online --initial policies/robofume --scene scene5
    --tasks "open the drawer" "close the drawer" --run runs/online
    """

    run_folder: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of the run."""
    initial: Path
    """Folder that `soar train robofume` wrote."""
    tasks: tuple[str, str]
    """Two instructions of the scene: forward, and back."""
    scene: str = "scene1"
    """Its name, or path of its YAML file."""
    vlm: str | None = None
    """The judge: folder of a VQA model, YAML file of any other, or `oracle`; the one that comes with SOAR by default."""
    threshold: float = 0.5
    """Least probability at which it ends an attempt."""
    pretraining: Path = Path("data/demonstrations/episodes")
    """Store of demonstrations."""
    autonomous: Path | None = None
    """Store of earlier attempts with verdicts."""
    steps: int = 30_000
    """Actions in all, 0.2 s each, and as many updates; a multiple of --reset-every."""
    episode_steps: int = 40
    """Actions of an attempt at most."""
    reset_every: int = 1000
    """Actions after which the table is set anew."""
    look_every: int = 1
    """Actions between two looks of the judge."""
    batch_size: int | None = None
    """Samples an update; the recipe's by default."""
    recipe: str = "laptop"
    """Name under configs/baselines, or path of a YAML file."""
    set: tuple[str, ...] = ()
    """NAME=VALUE of the recipe that count more."""
    seed: int = 0
    """Of everything random."""

    def run(self) -> None:
        """Run it."""
        import dataclasses

        from soar.base_models import default_weights
        from soar.baselines.config import load_recipe
        from soar.baselines.online import OnlineConfig, finetune_online
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.robots.workcell import SIMULATED
        from soar.training.cotraining import AutonomousData

        recipe = load_recipe(self.recipe, self.set).robofume
        fit = changed(recipe.policy.fit, batch_size=self.batch_size)
        recipe = dataclasses.replace(recipe, policy=dataclasses.replace(recipe.policy, fit=fit))
        names = ("steps", "episode_steps", "reset_every", "look_every", "threshold")
        own = None if self.autonomous is None else AutonomousData(store=self.autonomous, success_only=False)
        with progress_bars() as report:
            finetune_online(
                OnlineConfig(**{name: getattr(self, name) for name in names}),
                recipe,
                self.run_folder,
                initial=self.initial,
                workcell=SIMULATED + self.scene,
                tasks=self.tasks,
                vlm=self.vlm or str(default_weights("vqa")),
                pretraining=self.pretraining,
                autonomous=own,
                seed=self.seed,
                on_episode=lambda done, total, last: report("actions", done, total, last.instruction),
            )
        say(f"the actor is in {self.run_folder}; measure it with `soar evaluate --policy {self.run_folder} --out …`")
