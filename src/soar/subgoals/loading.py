"""How a subgoal model is named: one text, wherever a command asks for one.

    a folder with model_index.json    an InstructPix2Pix checkpoint, sampled as the paper does (`soar.subgoals.diffusion`)
    a YAML file                       `backend: diffusion` with the fields of `DiffusionConfig`; paths are relative to it. Or
                                      `backend: remote` with those of `RemoteConfig`
    a URL                             the model behind `soar serve subgoal` there (`soar.subgoals.remote`)
    MODULE:NAME                       what that function or class of yours makes (see `soar.references`)
    any other folder                  the small flow model in it (`soar.subgoals.flow`)

The simulator's `oracle` needs a simulator, so the rooms that have one know that name. A checkpoint that was trained here has a
sampling.yaml, which says how it is sampled instead of the paper; what a YAML file says counts more.
"""

from __future__ import annotations

import functools
from pathlib import Path

from soar.cameras import MAIN
from soar.configuration import read_yaml, validate
from soar.errors import UnknownNameError
from soar.extras import require
from soar.references import is_reference, made
from soar.remote.wire import is_url
from soar.subgoals.base import SubgoalModel


@functools.cache
def load_subgoal_model(name: str) -> SubgoalModel:
    """Return a subgoal model, opened once a process.

    Raises:
        CheckpointError: It is missing, foreign or damaged.
        ConfigError: The YAML file is invalid, or what the backend needs is not installed.
        ModelServerError: The server is not there, or serves something else.
    """
    if is_url(name):
        return _remote({"url": name}, name)
    if is_reference(name):
        own: SubgoalModel = made(name, "subgoal model", SubgoalModel)
        return own
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        data = read_yaml(path)
        if (backend := data.pop("backend", None)) == "remote":
            return _remote(data, name)
        if backend != "diffusion":
            raise UnknownNameError("backend", str(backend), ["diffusion", "remote"], f"Give one as `backend:` in {path}.")
        if (beside := path.parent / str(data.get("model"))).is_dir():
            data["model"] = str(beside)
        return _diffusion(data, name)
    if (path / "model_index.json").exists():
        return _diffusion({"model": name}, name)
    require("torch", f"subgoal model {name}: a model's folder", "name the URL of a server (soar serve subgoal)")
    from soar.subgoals.flow import FlowSubgoalModel

    return FlowSubgoalModel.load(path)


def _diffusion(data: dict[str, object], where: str) -> SubgoalModel:
    require("diffusers", where)
    from soar.subgoals.diffusion import SAMPLING, DiffusionConfig, DiffusionSubgoals

    if (beside := Path(str(data.get("model"))) / SAMPLING).is_file():
        data = {"camera": MAIN} | read_yaml(beside) | data  # which says so unless it is another one
    return DiffusionSubgoals.load(validate(DiffusionConfig, data, where))


def _remote(data: dict[str, object], where: str) -> SubgoalModel:
    from soar.remote.client import RemoteConfig
    from soar.subgoals.remote import RemoteSubgoals

    return RemoteSubgoals(validate(RemoteConfig, data, where))
