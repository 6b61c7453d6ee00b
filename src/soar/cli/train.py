"""`soar train`: one subcommand for each kind of model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import tyro

from soar.cli.flags import Switch, changed, on
from soar.cli.train_baselines import TrainLabeller, TrainOnline, TrainRoboFuME
from soar.cli.train_subgoal import TrainSubgoal

Kind: TypeAlias = Literal["gcbc", "lcbc", "glcbc"]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a policy on demonstrations, or improve one: co-train it on what it collected itself.

    Without --autonomous it is trained on demonstrations alone. With --initial it continues from a policy. On several GPUs:
    torchrun --nproc-per-node 8 -m soar.cli train …

    Example: soar train gcbc --pretraining data/demonstrations/episodes --autonomous runs/mine/episodes
    --initial src/soar/weights/policy --out runs/mine/policies/001
    """

    kind: Annotated[Kind, tyro.conf.Positional] = "gcbc"
    """Conditioned on goal images (gcbc), on instructions (lcbc), or on both (glcbc)."""
    out: Path
    """Folder of the new policy."""
    pretraining: Path = Path("data/demonstrations/episodes")
    """Store of demonstrations: its folder, or a URI such as s3://bucket/bridge (docs/datasets.md)."""
    pretraining_where: str = ""
    """SQL that selects some of them, for example "scene < 'world-1-2'"."""
    autonomous: Path | None = None
    """Store of the episodes that the policy collected itself: folder or URI."""
    where: str = ""
    """SQL that selects some of those, for example "round = 0"."""
    success_only: bool = True
    """Learn only from what was judged a success, or from all autonomous episodes."""
    label: Literal["vlm", "simulator"] = "vlm"
    """Whose judgement counts; the simulator's is for ablations."""
    threshold: float = 0.0
    """Least probability of success; 0 leaves it to the label."""
    instructions_by: str = ""
    """Whose labels say what was done in autonomous episodes, instead of what was commanded (lcbc, glcbc;
    `soar data label-dial`)."""
    top_k: int = 1
    """With --instructions-by: at most so many instructions an episode."""
    min_p: float = 0.0
    """With --instructions-by: least probability of an instruction."""
    goal_window: tuple[int, int] | None = None
    """Smallest and largest distance of hindsight goals in autonomous data, in steps."""
    goals: Literal["uniform", "geometric", "last-state-upweighted", "delta"] | None = None
    """How that distance is distributed (docs/datasets.md); the preset's by default."""
    imagined_goals: float | None = None
    """Share of the goals of autonomous data that are the subgoals which were pursued, as they were imagined."""
    sum_actions: Switch | None = None
    """Imitate the sum of two consecutive autonomous actions."""
    idle_filter: Switch | None = None
    """Leave out autonomous steps at which nothing moved."""
    clean_grasps: Switch | None = None
    """Undo autonomous changes of the gripper's target that do not last, and leave out the steps that lead to a gripper closed
    around nothing."""
    balance: Switch | None = None
    """Draw every instruction of the autonomous data equally often."""
    balance_places: Switch | None = None
    """Draw autonomous episodes so that the places of their grasps are distributed as in the pre-training data."""
    gripper_weight: float | None = None
    """How many times as often as others the moments of autonomous data are drawn at which the gripper opens or closes."""
    weigh_by_probability: Switch | None = None
    """Draw autonomous episodes in proportion to the judge's probability of success: with --no-success-only, instead of a
    filter."""
    upsampling: float | None = None
    """How many times its proportion autonomous data is drawn."""
    cap: float | None = None
    """Largest share of autonomous data in a batch."""
    share: float | None = None
    """Share of autonomous data in a batch, whatever its amount: 0.2 for 80/20. Instead of --upsampling and --cap."""
    initial: Path | None = None
    """Folder of the policy to continue from; a fresh network by default."""
    steps: int | None = None
    """Gradient steps."""
    batch_size: int | None = None
    """Samples a step."""
    learning_rate: float | None = None
    """Peak learning rate."""
    image_size: int | None = None
    """Of the network [px]; pictures of any size and shape are brought to it."""
    image_fit: Literal["squash", "crop", "pad"] | None = None
    """How: scaled side by side (squash), the middle of them (crop), or all of them between black bars (pad); the preset's by
    default, with --initial that of the policy."""
    camera: str | None = None
    """Whose pictures it looks at: `main`, or a further camera of the episodes by name; with --initial that of the policy."""
    compile: Switch | None = None
    """Compile the encoder: minutes at the beginning, then faster steps on a GPU."""
    encoder: str | None = None
    """Sentence encoder of lcbc and glcbc: all-MiniLM-L6-v2, hashed-words, or the folder of a sentence-transformers
    checkpoint."""
    condition_dropout: float | None = None
    """Of glcbc: share of the samples without the goal image, and share without the instruction; the preset's
    by default."""
    validation: float = 0.0
    """Share of the episodes of each source that is held out; losses on them are logged by source."""
    cache_gb: float | None = None
    """Memory for decoded images; by default half of what is free. A larger store is trained from all the same."""
    accumulate: int | None = None
    """Parts of a batch that are worked off one after another, to save memory."""
    seed: int = 0
    """Of everything random."""
    preset: str = "laptop"
    """Name of a preset, or path of its YAML file. What no flag says is in its `improvement.policy` (with --initial or
    --autonomous) or `pretraining.policy`."""
    device: str = "cpu"
    """Of torch."""
    wandb: str = ""
    """Project of Weights & Biases that metrics go to, besides TensorBoard; WANDB_MODE=offline works without a network."""

    def run(self) -> None:
        """Run it."""
        from contextlib import ExitStack

        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.errors import ConfigError
        from soar.improve.preset import load_preset
        from soar.training.config import conditioned
        from soar.training.cotraining import AutonomousData, cotrain
        from soar.training.distributed import joined

        if not 0 <= self.validation < 1:
            raise ConfigError(f"--validation must be at least 0 and below 1, got {self.validation}")
        if self.cache_gb is not None and not self.cache_gb >= 0:
            raise ConfigError(f"--cache-gb must not be negative, got {self.cache_gb}")
        preset = load_preset(self.preset)
        improving = self.autonomous is not None or self.initial is not None
        config = preset.improvement.policy if improving else preset.pretraining.policy
        fit = changed(
            config.fit,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            accumulate=self.accumulate,
            seed=self.seed,
        )
        network = changed(config.network, image_size=self.image_size, fit=self.image_fit, camera=self._camera())
        if self.kind != "gcbc":
            conditioning: Literal["language", "both"] = "language" if self.kind == "lcbc" else "both"
            network = conditioned(dataclasses.replace(config, network=network), conditioning, self.encoder or "").network
        elif self.encoder is not None:
            raise ConfigError(
                "--encoder chooses the sentence encoder of a policy that follows instructions: use it with `soar train lcbc` "
                "or `soar train glcbc`"
            )
        if self.instructions_by and (self.kind == "gcbc" or self.autonomous is None):
            raise ConfigError(
                "--instructions-by says what was done in autonomous episodes, for a policy that follows instructions: use it "
                "with `soar train lcbc --autonomous STORE`"
            )
        if self.condition_dropout is not None and self.kind != "glcbc":
            raise ConfigError(
                "--condition-dropout leaves out one of two conditions, goal image and instruction: use it with `soar train "
                "glcbc`"
            )
        own = changed(
            config.autonomous,
            goal_window=self.goal_window,
            goals=self.goals,
            imagined_goals=self.imagined_goals,
            sum_actions=on(self.sum_actions),
            drop_idle=on(self.idle_filter),
            clean_grasps=on(self.clean_grasps),
            balance_instructions=on(self.balance),
            balance_places=on(self.balance_places),
            gripper_weight=self.gripper_weight,
            weigh_by_probability=on(self.weigh_by_probability),
        )
        mixing = {"upsampling": self.upsampling, "autonomous_cap": self.cap, "autonomous_share": self.share}
        more = {"compile": on(self.compile), "condition_dropout": self.condition_dropout}
        config = changed(config, fit=fit, network=network, autonomous=own, **more, **mixing)
        data = None
        if self.autonomous is not None:
            data = AutonomousData(
                store=self.autonomous,
                success_only=self.success_only,
                label=self.label,
                threshold=self.threshold,
                where=self.where,
                instructions_by=self.instructions_by,
                top_k=self.top_k,
                min_p=self.min_p,
            )
        with joined(self.device) as (group, device), progress_bars() as report, ExitStack() as stack:
            track = None
            if self.wandb and group.leads:
                from soar.training.tracking import weights_and_biases

                values = dataclasses.asdict(config)
                track = stack.enter_context(weights_and_biases(self.wandb, self.out / "training", values))

            def on_step(done: int, total: int, metrics: dict[str, float]) -> None:
                if group.leads:
                    report("training", done, total, _note(metrics))

            cotrain(
                config,
                self.out,
                pretraining=self.pretraining,
                pretraining_where=self.pretraining_where or None,
                autonomous=data,
                initial=self.initial,
                validation_share=self.validation,
                cache_bytes=None if self.cache_gb is None else int(self.cache_gb * 1e9),
                device=device,
                track=track,
                on_step=on_step,
            )
            if not group.leads:
                return
        say(f"the policy is in {self.out}; measure it with `soar evaluate --policy {self.out} --out …`")

    def _camera(self) -> str | None:
        """Return the camera, which a policy that is continued knows."""
        if self.initial is None or self.camera is not None:
            return self.camera
        from soar.policies.learned import LearnedPolicy

        return LearnedPolicy.load(self.initial).network.config.camera


def _note(metrics: dict[str, float]) -> str:
    """Return what is worth knowing while a policy trains."""
    parts = [f"loss {metrics['loss']:.3f}"] if "loss" in metrics else []
    if "samples_per_s" in metrics:
        parts += [f"{metrics['samples_per_s']:.0f} samples/s", f"{metrics['loader_wait']:.0%} waiting for data"]
    return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class TrainGoals(Train):
    """Train a policy that reaches goal images on demonstrations, or improve one: co-train it on what it collected itself.

    Without --autonomous it is trained on demonstrations alone. With --initial it continues from a policy. On several GPUs:
    torchrun --nproc-per-node 8 -m soar.cli train gcbc …

    Example: soar train gcbc --pretraining data/demonstrations/episodes --autonomous runs/mine/episodes
    --initial src/soar/weights/policy --out runs/mine/policies/001
    """

    kind: Annotated[Kind, tyro.conf.Suppress] = "gcbc"


@dataclass(frozen=True, kw_only=True)
class TrainLanguage(Train):
    """Train a policy that follows instructions, on demonstrations and on what it collected itself.

    It has the flags of `soar train gcbc`, and works the same.

    Example: soar train lcbc --pretraining data/demonstrations/episodes --out policies/language
    """

    kind: Annotated[Kind, tyro.conf.Suppress] = "lcbc"


@dataclass(frozen=True, kw_only=True)
class TrainBoth(Train):
    """Train a policy that takes goal images and instructions, and acts with either or both, on demonstrations and on what it
    collected itself.

    It has the flags of `soar train gcbc`, and works the same. With subgoals it gets both, with `--subgoals none` the
    instruction.

    Example: soar train glcbc --pretraining data/demonstrations/episodes --out policies/both
    """

    kind: Annotated[Kind, tyro.conf.Suppress] = "glcbc"


@dataclass(frozen=True, kw_only=True)
class TrainModel:
    """Train a policy on goal images (gcbc), instructions (lcbc) or both (glcbc), a subgoal model (subgoal), or a method to
    compare with (robofume, dial-labeller).

    Example: soar train gcbc --pretraining data/demonstrations/episodes --out policies/mine
    """

    command: (
        Annotated[TrainGoals, tyro.conf.subcommand("gcbc", prefix_name=False)]
        | Annotated[TrainLanguage, tyro.conf.subcommand("lcbc", prefix_name=False)]
        | Annotated[TrainBoth, tyro.conf.subcommand("glcbc", prefix_name=False)]
        | Annotated[TrainSubgoal, tyro.conf.subcommand("subgoal", prefix_name=False)]
        | Annotated[TrainRoboFuME, tyro.conf.subcommand("robofume", prefix_name=False)]
        | Annotated[TrainOnline, tyro.conf.subcommand("robofume-online", prefix_name=False)]
        | Annotated[TrainLabeller, tyro.conf.subcommand("dial-labeller", prefix_name=False)]
    )

    def run(self) -> None:
        """Run it."""
        self.command.run()
