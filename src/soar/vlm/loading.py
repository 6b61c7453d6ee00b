"""How a model is named: one text, wherever a command or a preset asks for a vision-language or language model.

    a folder        the small VQA model in it (`soar.vlm.vqa`)
    MODULE:NAME     what that function or class of yours makes (see `soar.references`)
    human           a person at the terminal
    a YAML file     `backend: openai` with the fields of `OpenAIConfig`, or `backend: transformers` with those of
                    `TransformersConfig`; and, for either, `decoder:`, the name of a model that reads its undecidable words

The simulator's `oracle` needs a simulator, so the rooms that have one know that name. Paths in a YAML file are relative to it.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from soar.configuration import read_yaml, validate
from soar.errors import ConfigError, UnknownNameError
from soar.extras import require
from soar.references import is_reference, made
from soar.vlm.base import FilmModel, LanguageModel, VisionLanguageModel

HUMAN = "human"
_BACKENDS = ("openai", "transformers")


@functools.cache
def load_vlm(name: str) -> VisionLanguageModel:
    """Return a vision-language model, opened once a process.

    Raises:
        CheckpointError: A folder holds no VQA model, or a local model cannot be loaded.
        ConfigError: The YAML file is invalid, or what the backend needs is not installed.
    """
    if _is_yaml(name):
        return _open_file(Path(name))
    if is_reference(name):
        own: VisionLanguageModel = made(name, "vision-language model", VisionLanguageModel)
        return own
    if name == HUMAN:
        from soar.vlm.human import HumanVLM

        return HumanVLM()
    require("torch", f"vision-language model {name}: a model's folder", "name the YAML file of one behind a server")
    from soar.vlm.vqa import VQAModel

    return VQAModel.load(Path(name))


def load_language_model(name: str) -> LanguageModel:
    """Return a model that replies in words; YAML files and `MODULE:NAME` name one. Errors as in `load_vlm`."""
    if is_reference(name):
        mine: LanguageModel = made(name, "language model", LanguageModel)
        return mine
    if not _is_yaml(name):
        raise ConfigError(
            f"{name!r} does not reply in words. Name MODULE:NAME, or a YAML file with `backend: openai` or `transformers`."
        )
    model: LanguageModel = _open_backend(str(Path(name)))
    return model


def check_vlm(name: str) -> VisionLanguageModel:
    """Open a model, and let it say what is wrong.

    Raises:
        ModelServerError: Its server does not answer.
        CheckpointError: See `load_vlm`.
        ConfigError: See `load_vlm`.
    """
    vlm = load_vlm(name)
    vlm.check()
    return vlm


def _is_yaml(name: str) -> bool:
    return Path(name).suffix in (".yaml", ".yml")


def _open_file(path: Path) -> VisionLanguageModel:
    decoder = read_yaml(path).get("decoder")
    model: VisionLanguageModel = _open_backend(str(path))
    if decoder is None:
        return model
    from soar.vlm.llm_decoder import DecodedFilmModel, DecodedVLM

    reader = load_language_model(str(path.parent / str(decoder)))
    return DecodedFilmModel(model, reader) if isinstance(model, FilmModel) else DecodedVLM(model, reader)


@functools.cache
def _open_backend(name: str) -> Any:
    path = Path(name)
    data = read_yaml(path)
    backend = data.pop("backend", None)
    data.pop("decoder", None)
    if backend not in _BACKENDS:
        raise UnknownNameError("backend", str(backend), _BACKENDS, f"Give one as `backend:` in {path}.")
    if backend == "openai":
        from soar.vlm.openai_client import OpenAIConfig, OpenAIModel

        if data.get("cache"):
            data["cache"] = str(path.parent / str(data["cache"]))
        return OpenAIModel(validate(OpenAIConfig, data, str(path)))
    require("transformers", f"{path}: the backend {backend!r}")
    from soar.vlm.transformers_model import TransformersConfig, TransformersModel

    if (beside := path.parent / str(data.get("model"))).is_dir():
        data["model"] = str(beside)
    return TransformersModel.load(validate(TransformersConfig, data, str(path)))
