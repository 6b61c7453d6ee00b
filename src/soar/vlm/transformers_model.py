"""Any image-text-to-text model of `transformers`, by the path of its folder or its name on the hub, run here.

The processor's chat template says how image and question are put; a model without one gets its image token before the
question. A batch is padded on the left, so that an answer does not depend on what else is asked. The probability of yes comes
from the first generated token, over all ways in which the vocabulary writes yes and no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from PIL import Image as Pillow

from soar.errors import CheckpointError, ConfigError
from soar.nn.devices import usable_device
from soar.types import Image
from soar.vlm.base import Answer
from soar.vlm.probability import share_of_yes
from soar.vlm.words import side, yes_or_no

YES_NO = "{question} Answer with one word, yes or no."
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
        answer_tokens: Longest answer to a yes/no question; a reply in words may be ten times as long.
        prompt: Of a yes/no question; `{question}` is replaced.
        trust_remote_code: Run code that comes with the model (CogVLM needs it). Read that code first.
    """

    model: str
    revision: str | None = None
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: int = 8
    answer_tokens: int = 24
    prompt: str = YES_NO
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.answer_tokens < 1:
            raise ConfigError(f"batch_size and answer_tokens must be positive, got {self.batch_size} and {self.answer_tokens}")
        if "{question}" not in self.prompt:
            raise ConfigError(f"prompt must contain {{question}}, got {self.prompt!r}")


class TransformersModel:
    """A `soar.vlm.base.VisionLanguageModel` and `LanguageModel` that runs in this process."""

    def __init__(self, config: TransformersConfig, model: Any, processor: Any) -> None:
        self.config, self._model, self._processor = config, model.eval(), processor
        self._tokenizer = getattr(processor, "tokenizer", processor)
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._sides = {
            index: token for token, index in self._tokenizer.get_vocab().items() if index >= 0 and side(token) is not None
        }

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
        prompts = [self.config.prompt.replace("{question}", question) for question in questions]
        answers = []
        for text, first_V in self._generate(prompts, images, self.config.answer_tokens):
            readable = yes_or_no(text) is not None
            likely = share_of_yes((token, float(first_V[index])) for index, token in self._sides.items()) if readable else None
            answers.append(Answer(text=text, p_yes=likely))
        return answers

    def reply(self, prompts: Sequence[str], images: Sequence[Image | None] | None = None) -> list[str]:
        """Reply to prompt i about image i; either all prompts have an image or none."""
        shown = images or [None] * len(prompts)
        if any(image is None for image in shown) and any(image is not None for image in shown):
            raise ValueError("either all prompts have an image or none")
        return [text for text, _ in self._generate(prompts, shown, 10 * self.config.answer_tokens)]

    def _generate(
        self, prompts: Sequence[str], images: Sequence[Image | None], answer_tokens: int
    ) -> list[tuple[str, torch.Tensor]]:
        """Return text, and the probabilities (V,) of the first token, of each answer."""
        results: list[tuple[str, torch.Tensor]] = []
        for start in range(0, len(prompts), self.config.batch_size):
            stop = start + self.config.batch_size
            inputs = self._inputs(prompts[start:stop], images[start:stop])
            with torch.inference_mode():
                made = self._model.generate(
                    **inputs,
                    max_new_tokens=answer_tokens,
                    do_sample=False,
                    output_logits=True,
                    return_dict_in_generate=True,
                    pad_token_id=self._tokenizer.pad_token_id,
                )
            first_BV = made.logits[0].float().softmax(-1).cpu()
            # Models with an encoder return the answer alone, the others prompt and answer.
            new = made.sequences[:, -len(made.logits) :]
            results += zip(self._tokenizer.batch_decode(new, skip_special_tokens=True), first_BV, strict=True)
        return results

    def _inputs(self, prompts: Sequence[str], images: Sequence[Image | None]) -> dict[str, torch.Tensor]:
        pictures = [None if image is None else Pillow.fromarray(image) for image in images]
        if getattr(self._processor, "chat_template", None):
            chats = [
                [{"role": "user", "content": [*_shown(picture), {"type": "text", "text": prompt}]}]
                for prompt, picture in zip(prompts, pictures, strict=True)
            ]
            inputs = self._processor.apply_chat_template(
                chats,
                tokenize=True,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={"padding": True},
            )
        elif pictures and pictures[0] is None:
            inputs = self._tokenizer(list(prompts), padding=True, return_tensors="pt")
        else:
            mark = getattr(self._processor, "image_token", "")
            texts = [f"{mark}\n{prompt}" for prompt in prompts]
            inputs = self._processor(images=pictures, text=texts, padding=True, return_tensors="pt")
        device, dtype = self._model.device, self._model.dtype
        return {name: x.to(device, dtype) if x.is_floating_point() else x.to(device) for name, x in inputs.items()}


def _shown(picture: Pillow.Image | None) -> list[dict[str, Any]]:
    return [] if picture is None else [{"type": "image", "image": picture}]
