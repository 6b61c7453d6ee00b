"""Train the small VQA model on frames, questions and true answers.

A batch is some frames and several questions about each, so that a frame is seen once for all of them; yes and no weigh the
same in every question (up to a limit), whatever their shares in the data. Whole groups of rows (episodes) are held out; on
them the temperature is fitted and every question is scored (report.json). Among them yes and no weigh the same too, so that
precision, accuracy and thresholds are those of a base rate of one half.

Shape suffixes: B batch, N images, Q rows (a frame, a question, an answer), L tokens, H height, W width, C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from soar.datasets.image_cache import Images
from soar.errors import ConfigError
from soar.files import write_json
from soar.nn.model_files import continued_config, read_weights, save_model
from soar.nn.text_encoder import collect_vocabulary, tokenize
from soar.seeding import derive_seed, generator
from soar.training.augment import AugmentationConfig, augment
from soar.training.loop import FitConfig, fit
from soar.vlm.vqa import KIND, VQAConfig, VQANetwork

TEMPERATURES = np.geomspace(0.2, 10.0, 200)


def _fit_config() -> FitConfig:
    return FitConfig(
        steps=4000,
        batch_size=64,
        learning_rate=1e-3,
        warmup_steps=300,
        weight_decay=1e-2,
        beta2=0.99,
        ema=0.999,
        bf16=True,
        channels_last=True,
    )


def _augmentation() -> AugmentationConfig:
    # Hue stays: it tells a green block from a blue one.
    return AugmentationConfig(
        crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), shift=2, brightness=0.1, contrast=0.15, saturation=0.15, hue=0.01
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VQATrainingConfig:
    """How the VQA model is trained.

    Attributes:
        network: The network; vocabulary and temperature are filled in.
        fit: The optimisation; the batch size is even.
        questions: About each image of a batch.
        augmentation: Of the images.
        held_out: Share of the groups that is kept for calibration and metrics; at least one.
        max_validation: Most held-out rows that are used, drawn at random.
        target_precision: The report advises the lowest threshold on `p_yes` that has this precision.
    """

    network: VQAConfig = field(default_factory=VQAConfig)
    fit: FitConfig = field(default_factory=_fit_config)
    questions: int = 8
    augmentation: AugmentationConfig = field(default_factory=_augmentation)
    held_out: float = 0.1
    max_validation: int = 4000
    target_precision: float = 0.9

    def __post_init__(self) -> None:
        if self.fit.batch_size % 2:
            raise ConfigError(f"fit.batch_size must be even, got {self.fit.batch_size}")
        if not 0 < self.held_out < 1 or not 0 < self.target_precision < 1:
            raise ConfigError(f"held_out and target_precision must be in 0..1, got {self.held_out} and {self.target_precision}")
        if self.max_validation < 1:
            raise ConfigError(f"max_validation must be at least 1, got {self.max_validation}")


class QuestionBatch(NamedTuple):
    """Images (uint8, BHWC), tokens of K questions about each, answers (float, 1 is yes), and the weights of these rows."""

    images_BHWC: Tensor
    tokens_BKL: Tensor
    answers_BK: Tensor
    weights_BK: Tensor


class FrameRows:
    """Draws frames, and for each some of the rows about it, with repetition when there are fewer."""

    def __init__(self, rows_R: NDArray[np.int64], frame_Q: NDArray[np.int64]) -> None:
        order = rows_R[np.argsort(frame_Q[rows_R], kind="stable")]
        self._rows_R = order
        _, self._starts, self._sizes = np.unique(frame_Q[order], return_index=True, return_counts=True)

    def draw(self, rng: np.random.Generator, frames: int, questions: int) -> NDArray[np.int64]:
        """Return rows (frames, questions); those of one line are about the same frame."""
        chosen = rng.integers(len(self._starts), size=frames)
        start = rng.integers(self._sizes[chosen])
        # Consecutive rows from a random one on: no row twice before all of the frame were drawn.
        offsets = (start[:, None] + np.arange(questions)) % self._sizes[chosen][:, None]
        rows: NDArray[np.int64] = self._rows_R[self._starts[chosen][:, None] + offsets]
        return rows


def row_weights(question_Q: NDArray[np.int64], answers_Q: NDArray[np.bool_], largest: float = 4.0) -> NDArray[np.float32]:
    """Return weights (Q,) by which yes and no weigh the same in every question, as far as a weight of `largest` does that."""
    count = np.bincount(question_Q).astype(np.float64)
    yes = np.bincount(question_Q, weights=answers_Q) / np.maximum(count, 1)
    share = np.where(answers_Q, yes[question_Q], 1 - yes[question_Q])
    return np.asarray(np.minimum(0.5 / np.maximum(share, 1e-6), largest), np.float32)


def train_vqa(  # noqa: PLR0917
    config: VQATrainingConfig,
    images_NHWC: Images,
    frame_index_Q: NDArray[np.int64],
    questions: Sequence[str],
    answers_Q: NDArray[np.bool_],
    folder: Path,
    *,
    groups_Q: NDArray[np.int64],
    initial: Path | None = None,
    lineage: Mapping[str, Any] | None = None,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
    device: str = "cpu",
) -> dict[str, float]:
    """Train a VQA model, or resume training it.

    Args:
        config: The recipe.
        images_NHWC: uint8 RGB, of the network's size.
        frame_index_Q: The image of each row.
        questions: The question of each row.
        answers_Q: The true answer of each row.
        groups_Q: The episode of each row; no episode is both trained on and held out.
        folder: Gets config.json, model.safetensors and lineage.json (`VQAModel.load`), report.json (one entry a question, see
            `score`) and training/ (checkpoints and curves).
        initial: Folder of a model of the same shape to continue from; it learns new words.
        lineage: JSON values to keep with the model.
        on_step: See `soar.training.loop.fit`.
        device: Where to train.

    Returns:
        The last metrics of `fit`, with `validation/accuracy` and `validation/auc`, means over questions.

    Raises:
        ConfigError: The data do not fit the configuration, each other, or the initial model.
        CheckpointError: There is no such initial model.
    """
    size = config.network.image_size
    if images_NHWC.shape[1:] != (size, size, 3):
        raise ConfigError(f"image_size is {size}, but the images are {images_NHWC.shape[1:]}: change either.")
    if len({len(frame_index_Q), len(questions), len(answers_Q), len(groups_Q)}) != 1:
        raise ConfigError("frame_index_Q, questions, answers_Q and groups_Q must have the same length")
    groups = np.unique(groups_Q)
    if len(groups) < 2:
        raise ConfigError(f"training a VQA model takes rows of at least 2 episodes, got {len(groups)}")
    seed = config.fit.seed
    names, question_Q = np.unique(np.asarray(questions, dtype=object), return_inverse=True)
    unique = [str(name) for name in names]
    text = dataclasses.replace(config.network.text, vocabulary=collect_vocabulary(unique))
    network_config = dataclasses.replace(config.network, text=text)
    if initial is not None:
        network_config = continued_config(initial, KIND, network_config, text, ("temperature",))
    tokens_UL = tokenize(network_config.text, unique)

    held_out = max(1, min(len(groups) - 1, round(config.held_out * len(groups))))
    is_held_out_Q = np.isin(groups_Q, generator(seed, "vqa-held-out").permutation(groups)[:held_out])
    rows = FrameRows(np.flatnonzero(~is_held_out_Q), frame_index_Q)
    rows_V = generator(seed, "vqa-validation").permutation(np.flatnonzero(is_held_out_Q))[: config.max_validation]
    weights_Q = row_weights(question_Q, answers_Q)

    def gather(rows_BK: NDArray[np.int64]) -> QuestionBatch:
        return QuestionBatch(
            torch.from_numpy(images_NHWC[frame_index_Q[rows_BK[:, 0]]]),
            torch.from_numpy(tokens_UL[question_Q[rows_BK]]),
            torch.from_numpy(answers_Q[rows_BK].astype(np.float32)),
            torch.from_numpy(weights_Q[rows_BK]),
        )

    def report_of(model: nn.Module, temperature: float) -> list[dict[str, Any]]:
        p_V = 1 / (1 + np.exp(-_logits(model, gather(rows_V[:, None])) / temperature))
        return [
            {"question": unique[u], **score(p_V[mask], answers_Q[rows_V][mask], config.target_precision)}
            for u in np.unique(question_Q[rows_V])
            for mask in [question_Q[rows_V] == u]
        ]

    torch.manual_seed(derive_seed(seed, "vqa-network"))
    network = VQANetwork(network_config)
    if initial is not None:
        read_weights(initial, network, growing="text.embedding.weight")
    network = network.to(device)
    metrics = fit(
        network,
        lambda rng: gather(rows.draw(rng, config.fit.batch_size, config.questions)),
        lambda model, batch: _loss(model, batch, config.augmentation),
        config.fit,
        folder / "training",
        validate=lambda model: _means(report_of(model, 1.0)),
        on_step=on_step,
    )
    temperature = fit_temperature(_logits(network, gather(rows_V[:, None])), answers_Q[rows_V], question_Q[rows_V])
    write_json(folder / "report.json", report_of(network, temperature))
    own = {"episodes": len(groups), "held_out": held_out, "rows": len(questions), "seed": seed, "metrics": metrics}
    calibrated = dataclasses.replace(network_config, temperature=temperature)
    save_model(folder, KIND, calibrated, network, {**own, **(lineage or {})})
    return metrics


def _loss(model: nn.Module, batch: QuestionBatch, augmentation: AugmentationConfig) -> dict[str, Tensor]:
    network = _vqa_network(model)
    device = next(network.parameters()).device
    # `augment` gives pairs of images the same draw: here each half of the batch gets the draws of the other.
    half = len(batch.answers_BK) // 2
    images_BHWC = batch.images_BHWC.to(device)
    features_BMD = network.see(torch.cat(augment(images_BHWC[:half], images_BHWC[half:], augmentation)))
    tokens_UL, inverse_R = torch.unique(batch.tokens_BKL.flatten(0, 1).to(device), dim=0, return_inverse=True)
    words_ULD, mask_UL = network.text(tokens_UL)
    logits_R = network.answer(features_BMD, words_ULD[inverse_R], mask_UL[inverse_R])
    answers_R, weights_R = batch.answers_BK.flatten().to(device), batch.weights_BK.flatten().to(device)
    right_R = ((logits_R > 0) == (answers_R > 0.5)).float()
    return {
        "loss": (weights_R * F.binary_cross_entropy_with_logits(logits_R, answers_R, reduction="none")).mean(),
        "accuracy": (weights_R * right_R).sum() / weights_R.sum(),
    }


def _vqa_network(model: nn.Module) -> VQANetwork:
    if not isinstance(model, VQANetwork):
        raise TypeError(f"expected a VQANetwork, got {type(model).__name__}")
    return model


def _logits(model: nn.Module, batch: QuestionBatch) -> NDArray[np.float64]:
    device = next(model.parameters()).device
    with torch.no_grad():
        parts = [
            model(images.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1, tokens.to(device))
            for images, tokens in DataLoader(TensorDataset(batch.images_BHWC, batch.tokens_BKL[:, 0]), batch_size=128)
        ]
    return np.asarray(torch.cat(parts).cpu().double().numpy())


def _weights(answers_Q: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return weights that give yes and no a half each (or all to the one that there is)."""
    yes = answers_Q.mean()
    if yes in (0, 1):
        return np.full(len(answers_Q), 1 / len(answers_Q))
    return np.asarray(np.where(answers_Q, 0.5 / yes, 0.5 / (1 - yes)) / len(answers_Q))


def score(p_yes_Q: NDArray[np.float64], answers_Q: NDArray[np.bool_], target_precision: float) -> dict[str, float | int | None]:
    """Score the answers to one question, yes and no weighing a half each.

    Args:
        p_yes_Q: Predicted probabilities of yes.
        answers_Q: The truth.
        target_precision: Of the advised threshold.

    Returns:
        rows, base_rate (share of yes in the rows), accuracy, precision and recall of yes at p_yes >= 0.5, auc, and the advice:
        threshold, the lowest at which the precision is at least `target_precision`, and recall_at_threshold. A number that is
        undefined (no yes, no no, nothing predicted yes, no such threshold) is None.
    """
    weights = _weights(answers_Q)
    positives, negatives = p_yes_Q[answers_Q], p_yes_Q[~answers_Q]
    both = len(positives) > 0 and len(negatives) > 0
    said = p_yes_Q >= 0.5
    auc = recall = threshold = recall_at_threshold = precision = None
    if len(positives):
        recall = float((positives >= 0.5).mean())
    if said.any():
        precision = float(weights[said & answers_Q].sum() / weights[said].sum())
    if both:
        ordered = np.sort(negatives)
        below = np.searchsorted(ordered, positives, "left") + np.searchsorted(ordered, positives, "right")
        auc = float(below.mean() / (2 * len(negatives)))
        order = np.argsort(-p_yes_Q, kind="stable")
        p, kept, right = p_yes_Q[order], np.cumsum(weights[order]), np.cumsum((weights * answers_Q)[order])
        last_of_ties = np.append(p[1:] != p[:-1], True)
        good = np.flatnonzero(last_of_ties & (right >= target_precision * kept))
        if len(good):
            threshold, recall_at_threshold = float(p[good[-1]]), float(2 * right[good[-1]])
    return {
        "rows": len(answers_Q),
        "base_rate": float(answers_Q.mean()),
        "accuracy": float(weights[said == answers_Q].sum()),
        "precision": precision,
        "recall": recall,
        "auc": auc,
        "threshold": threshold,
        "recall_at_threshold": recall_at_threshold,
    }


def fit_temperature(logits_Q: NDArray[np.float64], answers_Q: NDArray[np.bool_], question_Q: NDArray[np.int64]) -> float:
    """Return the temperature that makes the answers likeliest; every question weighs the same, and yes and no in it."""
    weights = np.zeros(len(logits_Q))
    for question in np.unique(question_Q):
        mask = question_Q == question
        weights[mask] = _weights(answers_Q[mask])
    signed = np.where(answers_Q, logits_Q, -logits_Q)
    losses = [float((weights * np.logaddexp(0, -signed / temperature)).sum()) for temperature in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def _means(report: list[dict[str, Any]]) -> dict[str, float]:
    """Return means over the questions that have both answers, or else over all."""
    asked = [entry for entry in report if entry["auc"] is not None]
    if not asked:
        return {"accuracy": float(np.mean([entry["accuracy"] for entry in report]))}
    return {name: float(np.mean([entry[name] for entry in asked])) for name in ("accuracy", "auc")}
