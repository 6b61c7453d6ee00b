"""Any image-text-to-text model of `transformers`, by the path of its folder or its name on the hub, run here.

The processor's chat template says how image and question are put; a model without one gets its image token before the
question. A batch is padded on the left, so that an answer does not depend on what else is asked. The probability of yes comes
from the first token of the answer, behind the thought if there is one, over all ways in which the vocabulary writes yes and no;
of each step only those are kept. It is the probability from which the token was taken: what the checkpoint itself does to it,
such as a penalty for repetition, is in it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from PIL import Image as Pillow

from soar.errors import CheckpointError, ConfigError
from soar.nn.devices import usable_device
from soar.remote.fallbacks import fell_back
from soar.types import Image
from soar.vlm.answer_parsing import SHOWN_NOTHING, Reading, read
from soar.vlm.base import Answer
from soar.vlm.spending import spend
from soar.vlm.thoughts import THOUGHT_MARKS, Marks, split_thought
from soar.vlm.token_probability import Token, side

log = logging.getLogger(__name__)
YES_NO = "{question} Answer with one word, yes or no."
TRUE_FALSE = " Answer with one word, True or False."
_LEAST = 1e-30
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformersConfig:
    """One local model; the content of a YAML file with `backend: transformers`.

    Attributes:
        model: Path of a folder, or a name on the hub.
        revision: Of the hub's model; the newest by default.
        device: Of torch; `auto` takes a GPU when there is one.
        dtype: Of the weights; `auto` is bfloat16 on a GPU and float32 elsewhere.
        batch_size: Questions at a time.
        answer_tokens: Longest answer to a yes/no question, thought included; a model that thinks aloud needs thousands. A
            reply in words may be ten times as long.
        thought_marks: Where a model's thoughts begin and end, for a model whose marks `soar.vlm.thoughts` does not know.
        prompt: Of a yes/no question; `{question}` is replaced.
        trust_remote_code: Run code that comes with the model (CogVLM needs it). Read that code first.
    """

    model: str
    revision: str | None = None
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: int = 8
    answer_tokens: int = 256
    thought_marks: tuple[Marks, ...] = ()
    prompt: str = YES_NO
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.answer_tokens < 1:
            raise ConfigError(f"batch_size and answer_tokens must be positive, got {self.batch_size} and {self.answer_tokens}")
        if "{question}" not in self.prompt:
            raise ConfigError(f"prompt must contain {{question}}, got {self.prompt!r}")


class TransformersModel:
    """A `soar.vlm.base.FilmModel` and `LanguageModel` that runs in this process."""

    def __init__(self, config: TransformersConfig, model: Any, processor: Any) -> None:
        self.config, self._model, self._processor = config, model.eval(), processor
        self._tokenizer = getattr(processor, "tokenizer", processor)
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        vocabulary = self._tokenizer.get_vocab().items()
        self._sides = {index: token for token, index in vocabulary if index >= 0 and side(token) is not None}
        marks = [mark.lower() for pair in (*THOUGHT_MARKS, *config.thought_marks) for mark in pair]
        # A mark may be several special tokens, such as those of channels: every special token that is a part of one stays.
        self._dropped = {
            index
            for index in self._tokenizer.all_special_ids
            if not any(self._tokenizer.convert_ids_to_tokens(index).lower() in mark for mark in marks)
        }
        self._told: set[str] = set()

    @classmethod
    def load(cls, config: TransformersConfig) -> Self:
        """Load a model; from the hub it is downloaded once.

        Raises:
            CheckpointError: There is no such model, or it cannot be read here.
            ConfigError: The device cannot be used.
        """
        from transformers import AutoModelForImageTextToText, AutoProcessor  # slow to import

        device = usable_device(config.device)
        dtype = _DTYPES[config.dtype if config.dtype != "auto" else "float32" if device == "cpu" else "bfloat16"]
        options = {"revision": config.revision, "trust_remote_code": config.trust_remote_code}
        try:
            processor = AutoProcessor.from_pretrained(config.model, **options)
            model = AutoModelForImageTextToText.from_pretrained(config.model, dtype=dtype, **options)
        except (OSError, ValueError, ImportError) as error:
            raise CheckpointError(
                f"the vision-language model {config.model!r} cannot be loaded: {' '.join(str(error).split())[:400]}. "
                "Name a folder or a model of the hub that `transformers` loads as image-text-to-text."
            ) from error
        return cls(config, model.to(device), processor)

    @property
    def id(self) -> str:
        """`transformers:`, the model's name and, for one of the hub, its commit."""
        commit = getattr(self._model.config, "_commit_hash", None)
        return f"transformers:{self.config.model}" + (f"@{commit[:8]}" if commit else "")

    def check(self) -> None:
        """Nothing can be wrong once it is there."""

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        """Answer question i about image i."""
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} images but {len(questions)} questions")
        return self.answer_films([[image] for image in images], questions)

    def answer_films(
        self, films: Sequence[Sequence[Image]], questions: Sequence[str], *, true_false: bool = False
    ) -> list[Answer]:
        """Answer question i about film i; see `soar.vlm.base.FilmModel`. Films of equal length are a batch."""
        wording = "{question}" + TRUE_FALSE if true_false else self.config.prompt
        prompts = [wording.replace("{question}", question) for question in questions]
        answers: dict[int, Answer] = {}
        for count in dict.fromkeys(map(len, films)):
            chosen = [index for index, film in enumerate(films) if len(film) == count]
            found = self._answers([prompts[index] for index in chosen], [films[index] for index in chosen])
            answers |= zip(chosen, found, strict=True)
        return [answers[index] for index in range(len(films))]

    def _answers(self, prompts: Sequence[str], films: Sequence[Sequence[Image]]) -> list[Answer]:
        answers = []
        for made in self._generate(prompts, films, self.config.answer_tokens):
            text = "".join(token.text for token in made.tokens)
            reading = read(text, made.tokens, finish="length" if made.cut else None, marks=self.config.thought_marks)
            self._tell(reading, cut=made.cut)
            answers.append(reading.answer())
        return answers

    def reply(self, prompts: Sequence[str], images: Sequence[Image | None] | None = None) -> list[str]:
        """Reply to prompt i about image i; either all prompts have an image or none."""
        shown = images or [None] * len(prompts)
        if any(image is None for image in shown) and any(image is not None for image in shown):
            raise ValueError("either all prompts have an image or none")
        replies = []
        films = [[] if image is None else [image] for image in shown]
        for made in self._generate(prompts, films, 10 * self.config.answer_tokens):
            split = split_thought("".join(token.text for token in made.tokens), self.config.thought_marks)
            replies.append(split.answer.strip())
        return replies

    def _tell(self, reading: Reading, *, cut: bool) -> None:
        """Say what is wrong with an answer, once of each kind."""
        kind = (
            "no picture" if reading.no_picture else "cut" if cut and not reading.whole else "read" if not reading.whole else ""
        )
        if not kind or kind in self._told:
            return
        self._told.add(kind)
        if reading.no_picture:
            problem = f"{SHOWN_NOTHING} ({reading.text.strip()[:200]!r}). The set-up is wrong: name a model that sees."
            log.error("%s: %s", self.id, problem)
            fell_back(self.id, "undecidable", problem)
        else:
            more = f"; answer_tokens is {self.config.answer_tokens}, raise it" if cut else ""
            log.warning("%s: an answer cannot be read: %s%s", self.id, reading.reason, more)

    def _generate(self, prompts: Sequence[str], films: Sequence[Sequence[Image]], answer_tokens: int) -> list[_Made]:
        """Return what the model makes of each prompt and its pictures, of which all prompts have equally many."""
        results: list[_Made] = []
        for start in range(0, len(prompts), self.config.batch_size):
            stop = start + self.config.batch_size
            inputs = self._inputs(prompts[start:stop], films[start:stop])
            recorder = _Recorder(list(self._sides))
            with torch.inference_mode():
                made = self._model.generate(
                    **inputs,
                    max_new_tokens=answer_tokens,
                    do_sample=False,
                    num_beams=1,
                    logits_processor=[recorder],
                    return_dict_in_generate=True,
                    pad_token_id=self._tokenizer.pad_token_id,
                )
            steps = len(recorder.steps)
            # Models with an encoder return the answer alone, the others prompt and answer.
            new_BN = made.sequences[:, -steps:].cpu()
            chances_BNS = torch.stack(recorder.steps, 1).cpu()
            batch = [self._made(ids, chances, answer_tokens) for ids, chances in zip(new_BN, chances_BNS, strict=True)]
            read = int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else 0
            spend(read + sum(len(one.tokens) for one in batch), calls=len(batch))
            results += batch
        return results

    def _made(self, ids_N: torch.Tensor, chances_NS: torch.Tensor, answer_tokens: int) -> _Made:
        ids = ids_N.tolist()
        end = self._model.generation_config.eos_token_id
        ends = {self._tokenizer.eos_token_id, *(end if isinstance(end, list) else [end])} - {None}
        stopped = next((index for index, token in enumerate(ids) if token in ends), len(ids))
        cut = stopped == len(ids) and len(ids) >= answer_tokens
        kept = [index for index in range(stopped) if ids[index] not in self._dropped]
        texts = self._pieces([ids[index] for index in kept])
        names = list(self._sides.values())
        tokens = [
            Token(
                text=text,
                alternatives=tuple(
                    (name, math.log(max(p, _LEAST))) for name, p in zip(names, chances_NS[index].tolist(), strict=True)
                ),
            )
            for index, text in zip(kept, texts, strict=True)
        ]
        return _Made(tokens=tokens, cut=cut)

    def _pieces(self, ids: list[int]) -> list[str]:
        """Return each token's part of the text; half a character belongs to the token that completes it."""
        pieces, begin, read_to = [], 0, 0
        for index in range(len(ids)):
            before = self._tokenizer.decode(ids[begin:read_to], skip_special_tokens=False)
            after = self._tokenizer.decode(ids[begin : index + 1], skip_special_tokens=False)
            if after.endswith("\ufffd") and index + 1 < len(ids):
                pieces.append("")
                continue
            pieces.append(after[len(before) :])
            begin, read_to = read_to, index + 1
        return pieces

    def _inputs(self, prompts: Sequence[str], films: Sequence[Sequence[Image]]) -> dict[str, torch.Tensor]:
        pictures = [[Pillow.fromarray(image) for image in film] for film in films]
        if getattr(self._processor, "chat_template", None):
            chats = [
                [{"role": "user", "content": [*_shown(film), {"type": "text", "text": prompt}]}]
                for prompt, film in zip(prompts, pictures, strict=True)
            ]
            inputs = self._processor.apply_chat_template(
                chats,
                tokenize=True,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={"padding": True},
            )
        elif pictures and not pictures[0]:
            inputs = self._tokenizer(list(prompts), padding=True, return_tensors="pt")
        else:
            mark = getattr(self._processor, "image_token", "")
            texts = [f"{mark * len(film)}\n{prompt}" for prompt, film in zip(prompts, pictures, strict=True)]
            single = [film[0] for film in pictures] if len(pictures[0]) == 1 else pictures
            inputs = self._processor(images=single, text=texts, padding=True, return_tensors="pt")
        device, dtype = self._model.device, self._model.dtype
        return {name: x.to(device, dtype) if x.is_floating_point() else x.to(device) for name, x in inputs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    tokens: list[Token]
    cut: bool


class _Recorder:
    """Keeps, of each step, the probabilities of some tokens: those of the whole vocabulary would fill the memory."""

    def __init__(self, indices: list[int]) -> None:
        self._indices = indices
        self.steps: list[torch.Tensor] = []

    def __call__(self, ids_BN: torch.Tensor, scores_BV: torch.Tensor) -> torch.Tensor:
        self.steps.append(scores_BV.float().softmax(-1)[:, self._indices])
        return scores_BV


def _shown(film: Sequence[Pillow.Image]) -> list[dict[str, Any]]:
    return [{"type": "image", "image": picture} for picture in film]
