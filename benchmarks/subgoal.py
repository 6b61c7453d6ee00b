"""How fast image editors imagine subgoals, and what fewer steps cost. Each part prints JSON lines, and --out collects them.

    python benchmarks/subgoal.py branches --out results/subgoal.json
        One batch for the three branches of guidance against three calls, on this machine, at several batch sizes.
    python benchmarks/subgoal.py steps --store data/pictures/episodes --work WORK --out results/subgoal.json
        Trains a small editor on the simulator's pictures (resumes), and compares its held-out error at 10 and 50 steps.
    python benchmarks/subgoal.py gpu --out results/subgoal.json
        An editor of Stable Diffusion 1.5's size (random weights) against the stock pipeline of diffusers, on a GPU.

Rows of other parts stay in the file. Every ratio is of two things that ran in turns in one process.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from soar.evaluation.results import read_results, write_results
from soar.seeding import generator
from soar.subgoals.diffusion import DiffusionConfig, DiffusionSubgoals, load_pipeline
from soar.subgoals.diffusion_sampling import DiffusionSampler, DiffusionSamplingConfig
from soar.subgoals.flow import to_float
from soar.subgoals.small_pipeline import SmallConfig, small_pipeline, words_as_tokens
from soar.subgoals.susie import SCHEDULER, UNET
from soar.training.diffusion_subgoals import DiffusionSubgoalTrainingConfig, from_nothing, train_diffusion_subgoals
from soar.training.frame_pairs import StorePairs, pinned, split
from soar.training.loop import FitConfig
from soar.training.subgoal_metrics import CHANGED

COMMAND = "python benchmarks/subgoal.py branches|steps|gpu --out results/subgoal.json"
ORDER = ("branches", "steps", "gpu")
PENDING = "not run: no GPU here"
Row = dict[str, Any]

# --- steps: the small editor whose error is measured ---

RECIPE = DiffusionSubgoalTrainingConfig(
    network=SmallConfig(vae_channels=(16, 32, 32), channels=(32, 64), text_width=64, text_layers=1),
    fit=FitConfig(
        steps=2000,
        batch_size=16,
        learning_rate=1e-3,
        warmup_steps=100,
        weight_decay=1e-2,
        beta2=0.99,
        ema=0.998,
        checkpoint_every=250,
    ),
    autoencoder=FitConfig(steps=600, batch_size=16, learning_rate=2e-3, warmup_steps=50, ema=0.99, checkpoint_every=100),
    held_out=0.1,
    validation_pairs=16,
    sampling=DiffusionSamplingConfig(guidance=2.0, image_guidance=1.5, sampler="dpm", steps=10, image_size=32),
)
WHERE = "simulator_success"
PAIRS = 128
REFERENCE = {"sampler": "ddim", "steps": 50}
CANDIDATES: tuple[dict[str, Any], ...] = (
    *(
        {"sampler": sampler, "steps": 10, "spacing": s}
        for sampler in ("ddim", "dpm", "unipc", "euler")
        for s in (None, "trailing")
    ),
    {"sampler": "ddim", "steps": 50, "guidance_interval": (0.0, 0.5)},
)


def steps(store: Path, work: Path) -> list[Row]:
    """Train the small editor, or go on, and compare samplers on held-out pairs."""

    def tell(phase: str, done: int, total: int, _metrics: Mapping[str, float]) -> None:
        print(f"\r{phase} {done}/{total}", end="", file=sys.stderr, flush=True)

    train_diffusion_subgoals(RECIPE, store, work, where=WHERE, on_step=tell)
    opened, _ = pinned(store, WHERE, work / "training" / "data.json")
    size = RECIPE.sampling.image_size
    pairs = StorePairs(opened, split(opened, WHERE, RECIPE.held_out, RECIPE.fit.seed)[1], size, RECIPE.horizon, 0.0)
    held_out = pairs.read(pairs.draw(generator(0, "benchmark"), PAIRS))
    pipeline = load_pipeline(str(work))
    reference = errors(pipeline, held_out, REFERENCE)
    rows = []
    for options in CANDIDATES:
        candidate = errors(pipeline, held_out, options)
        ratio, low, high = ratio_of_means(candidate, reference)
        rows.append(
            {
                "metric": f"held-out error, {label(options)}",
                "ours": mean_error(candidate),
                "peer": "50 DDIM steps",
                "theirs": mean_error(reference),
                "ratio": ratio,
                "95 %": f"{low:.3f} to {high:.3f}",
                "limit": 1.05,
            }
        )
    return rows


def label(options: Mapping[str, Any]) -> str:
    """Return a name for a way of sampling."""
    name = f"{options['steps']} {options['sampler']} steps"
    if options.get("spacing"):
        name += f", {options['spacing']}"
    return name + (f", guided in the first {options['guidance_interval'][1]:.0%}" if "guidance_interval" in options else "")


def errors(pipeline: Any, held_out: Any, options: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return (pairs, 2): absolute error on the changed pixels of each pair, and that of a copy of the observation."""
    editor = DiffusionSampler(pipeline, dataclasses.replace(RECIPE.sampling, **{"spacing": None, **options}))
    observation, goal = (to_float(images) for images in held_out.images)
    noise = torch.from_numpy(generator(0, "noise").standard_normal((len(goal), *editor.noise_shape), np.float32))
    parts = [slice(start, start + 8) for start in range(0, len(goal), 8)]
    sampled = torch.cat([editor.edit(observation[part], held_out.instructions[part], noise[part]) for part in parts])
    changed = ((goal - observation).abs().amax(1, keepdim=True) > CHANGED).float()
    sums = [(changed * (image - goal).abs()).sum((1, 2, 3)) for image in (sampled, observation)]
    return torch.stack(sums, 1).double().numpy()


def mean_error(errors_K2: NDArray[np.float64]) -> float:
    """Return the error in units of that of a copy, as the training reports it."""
    return float(errors_K2[:, 0].sum() / errors_K2[:, 1].sum())


def ratio_of_means(ours_K2: NDArray[np.float64], theirs_K2: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the ratio of two errors on the same pairs, and its 95 % interval (bootstrap over pairs)."""
    rng = generator(0, "bootstrap")
    draws = [rng.integers(len(ours_K2), size=len(ours_K2)) for _ in range(2000)]
    ratios = [mean_error(ours_K2[draw]) / mean_error(theirs_K2[draw]) for draw in draws]
    low, high = np.quantile(ratios, [0.025, 0.975])
    return mean_error(ours_K2) / mean_error(theirs_K2), float(low), float(high)


# --- branches: one call against three ---


def branches() -> list[Row]:
    """Compare one batch of the three branches with three calls, in CPU-seconds on one thread."""
    torch.set_num_threads(1)
    unit, rows = "guided UNet steps of an image per CPU-s, one thread", []
    for size in (32, 64):
        unet = small_pipeline(from_nothing().network, ["put the block in the bowl"], size, 0).unet.eval()
        rates = {count: against_three_calls(unet, count, time.process_time, tokens=32) for count in (1, 2, 4, 8)}
        for count, pair in rates.items():
            rows.append(branch_row(f"{size} px editor, {count} images: {unit}", "three calls", *pair))
        together, alone = rates[8][0], rates[1][1]
        rows.append(branch_row(f"{size} px editor, 8 images: {unit}", "three calls an image, one by one", together, alone))
    return rows


def branch_row(metric: str, peer: str, ours: float, theirs: float) -> Row:
    """Return one row from rates."""
    return {"metric": metric, "ours": ours, "peer": peer, "theirs": theirs, "ratio": ours / theirs, "limit": 2.0}


def against_three_calls(
    unet: Any, count: int, clock: Callable[[], float], *, tokens: int, rounds: int = 6
) -> tuple[float, float]:
    """Return guided steps of an image per unit of time, with one call and with three, which take turns."""
    side, width = unet.config.sample_size, unet.config.cross_attention_dim
    device, dtype = next(unet.parameters()).device, next(unet.parameters()).dtype
    latents = torch.randn(3 * count, 8, side, side, device=device, dtype=dtype)
    texts, now = torch.randn(3 * count, tokens, width, device=device, dtype=dtype), torch.tensor(500, device=device)
    thirds = list(zip(latents.chunk(3), texts.chunk(3), strict=True))

    def together() -> None:
        unet(latents, now, texts, return_dict=False)

    def apart() -> None:
        for latent, text in thirds:
            unet(latent, now, text, return_dict=False)

    best = [float("inf")] * 2
    with torch.inference_mode():
        for number in range(rounds + 1):
            for which, call in enumerate((together, apart)):
                begun = clock()
                call()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                if number:  # the first round warms up
                    best[which] = min(best[which], clock() - begun)
    return count / best[0], count / best[1]


# --- gpu: the size of Stable Diffusion 1.5 ---


def full_size(folder: Path) -> None:
    """Write an InstructPix2Pix pipeline of Stable Diffusion 1.5's size with random weights; nothing is downloaded."""
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    vocabulary, merges = words_as_tokens(["put the carrot on the plate"])
    torch.manual_seed(0)
    diffusers.StableDiffusionInstructPix2PixPipeline(
        vae=diffusers.AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                max_position_embeddings=77, bos_token_id=0, eos_token_id=1, pad_token_id=1,
            )
        ),
        tokenizer=CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77),
        unet=diffusers.UNet2DConditionModel(**UNET),
        scheduler=diffusers.DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip


def gpu(work: Path | None, device: str, count: int = 8, sampler_steps: int = 50) -> list[Row]:
    """Compare editing at 256 px with the stock pipeline at equal steps, and one call with three, on a GPU."""
    version = importlib.metadata.version("diffusers")
    wholes = {
        f"SD-1.5-sized editor, 256 px, {count} images, {sampler_steps} DDIM steps: images/s": {
            f"diffusers {version}, as it loads (float32)": ("float32", (0.0, 1.0), 3.0),
            f"diffusers {version}, bfloat16": ("bfloat16", (0.0, 1.0), None),
        },
        "the same, guided in the first 50%: images/s": {
            f"diffusers {version}, bfloat16": ("bfloat16", (0.0, 0.5), None),
        },
    }
    calls = {f"SD-1.5-sized UNet, 256 px, {n} images: guided UNet steps of an image per s": n for n in (1, 8)}
    if device == "cuda" and not torch.cuda.is_available():
        rows = [(metric, peer, limit) for metric, peers in wholes.items() for peer, (_, _, limit) in peers.items()]
        rows += [(metric, "three calls", 2.0) for metric in calls]
        return [
            {"metric": metric, "ours": None, "peer": peer, "theirs": None, "ratio": PENDING, "limit": limit}
            for metric, peer, limit in rows
        ]
    folder = work or Path(tempfile.mkdtemp())
    if not (folder / "model_index.json").exists():
        full_size(folder)
    images = [generator(0, "image", number).integers(0, 256, (256, 256, 3), np.uint8) for number in range(count)]
    texts = ["put the carrot on the plate"] * count
    rows = []
    for metric, peers in wholes.items():
        for peer, (dtype, interval, limit) in peers.items():
            model = DiffusionSubgoals.load(
                DiffusionConfig(
                    model=str(folder),
                    steps=sampler_steps,
                    batch_size=count,
                    device=device,
                    compile=device == "cuda",
                    guidance_interval=interval,
                )
            )
            ours = rate(partial(model.generate, images, texts, range(count)), count)
            stock = load_pipeline(str(folder), dtype=getattr(torch, dtype)).to(device)
            stock.set_progress_bar_config(disable=True)
            floats = [image.astype(np.float32) / 255 for image in images]
            theirs = rate(partial(stock, texts, floats, sampler_steps, 7.5, 2.0), count)
            rows.append(
                {"metric": metric, "ours": ours, "peer": peer, "theirs": theirs, "ratio": ours / theirs, "limit": limit}
            )
    unet = load_pipeline(str(folder), dtype=torch.bfloat16).to(device).unet
    for metric, n in calls.items():
        batched, apart = against_three_calls(unet, n, time.monotonic, tokens=77, rounds=30)
        rows.append(branch_row(metric, "three calls", batched, apart))
    return rows


def rate(call: Callable[[], Any], count: int, rounds: int = 4) -> float:
    """Return images a second, the best of some rounds after the first, which warms up and compiles."""
    best = float("inf")
    for number in range(rounds + 1):
        begun = time.monotonic()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if number:
            best = min(best, time.monotonic() - begun)
    return count / best


def keep(out: Path, part: str, rows: list[Row]) -> None:
    """Write the rows of a part; those of other parts stay."""
    others = read_results(out)["rows"] if out.exists() else []
    parts = {name: [row for row in others if row["part"] == name] for name in ORDER} | {
        part: [{"part": part, **row} for row in rows]
    }
    write_results(out, COMMAND, [row for name in ORDER for row in parts[name]])


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=ORDER)
    parser.add_argument("--store", type=Path, default=Path("data/pictures/episodes"), help="store of the simulator's pictures")
    parser.add_argument("--work", type=Path, help="folder of the editor")
    parser.add_argument("--device", default="cuda", help="of the part gpu")
    parser.add_argument("--out", type=Path, help="results file")
    options = parser.parse_args()
    if options.part == "steps":
        rows = steps(options.store, options.work or Path("data/models/editor"))
    else:
        rows = branches() if options.part == "branches" else gpu(options.work, options.device)
    for row in rows:
        print(json.dumps(row))
    if options.out is not None:
        keep(options.out, options.part, rows)


if __name__ == "__main__":
    main()
