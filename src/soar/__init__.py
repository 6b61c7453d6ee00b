"""SOAR: robots that improve their instruction-following policy from data that they collect on their own.

As a library, what one episode takes; each is imported when it is first asked for:

    load_policy, load_subgoal_model, load_vlm     models by name (folder, ONNX file, URL, YAML file, `MODULE:NAME`)
    open_workcell                                 a robot in front of a scene
    run_episode                                   what it does about an instruction
    EpisodeStore                                  where episodes are kept
"""

TYPE_CHECKING = False  # for type checkers it is true; importing `soar` imports nothing else
if TYPE_CHECKING:
    from soar.collect.episode import run_episode
    from soar.episodes.store import EpisodeStore
    from soar.policies.loading import load_policy
    from soar.robots.workcell import open_workcell
    from soar.subgoals.loading import load_subgoal_model
    from soar.vlm.loading import load_vlm

__version__ = "0.2.0"
__all__ = ["EpisodeStore", "__version__", "load_policy", "load_subgoal_model", "load_vlm", "open_workcell", "run_episode"]
_MODULES = {
    "EpisodeStore": "soar.episodes.store",
    "load_policy": "soar.policies.loading",
    "load_subgoal_model": "soar.subgoals.loading",
    "load_vlm": "soar.vlm.loading",
    "open_workcell": "soar.robots.workcell",
    "run_episode": "soar.collect.episode",
}


def __getattr__(name: str) -> object:
    """Import what is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module 'soar' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_MODULES[name]), name)
