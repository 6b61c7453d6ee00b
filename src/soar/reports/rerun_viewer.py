"""Episodes on a time line, for the viewer Rerun: frames, subgoals, states, actions and labels.

Each episode is a recording of its own. Time axis: `step` counts actions from 0, `time` is 0.2 s a step; the last observation is
at step T. A subgoal appears at the step at which it was commanded and stays until the next; a label stands at the last
step, which is what it judges.

```
camera, subgoal          images, as JPEG: nothing is decoded or encoded again
cameras/wrist …          those of further cameras
state/x … action/dx …    curves
gripper/path             where the gripper went, in the robot's base frame
labels, about            texts
```
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soar.episodes import EncodedEpisode
from soar.errors import ConfigError
from soar.files import replacing
from soar.types import STEP_S, Label

STATES = ("x", "y", "z", "roll", "pitch", "yaw", "opening")
ACTIONS = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")


def save_recording(episode: EncodedEpisode, path: Path) -> None:
    """Write an episode to a file that `rerun FILE` opens; no screen is needed.

    Raises:
        ConfigError: `rerun-sdk` is not installed.
        SoarError: The file cannot be written; one that was there is as it was.
    """
    rerun = _rerun()
    with replacing(path) as temporary:
        stream = _stream(rerun, episode)
        stream.save(temporary, default_blueprint=_blueprint(rerun, list(episode.extra_frames)))
        _log_episode(rerun, stream, episode)
        stream.disconnect()


def show(episodes: Sequence[EncodedEpisode]) -> None:
    """Open Rerun's window, and show each episode in it.

    Raises:
        ConfigError: `rerun-sdk` is not installed, or its window cannot be opened.
    """
    rerun = _rerun()
    for episode in episodes:
        stream = _stream(rerun, episode)
        try:
            stream.spawn(default_blueprint=_blueprint(rerun, list(episode.extra_frames)))
        except (OSError, RuntimeError) as error:
            raise ConfigError(f"Rerun's window does not open: {error}. Without a screen, write a file with --save") from error
        _log_episode(rerun, stream, episode)
        stream.flush()


def _rerun() -> Any:
    if importlib.util.find_spec("rerun") is None:
        raise ConfigError("the viewer needs rerun-sdk. Install it: pip install 'soar-robot[view]'")
    import rerun

    return rerun


def _stream(rerun: Any, episode: EncodedEpisode) -> Any:
    return rerun.RecordingStream("soar", recording_id=episode.id)


def _log_episode(rerun: Any, stream: Any, episode: EncodedEpisode) -> None:
    stream.send_recording_name(episode.id)
    # When it was written down is of no interest.
    stream.set_log_time_enabled(False)
    stream.set_log_tick_enabled(False)
    stream.log("about", rerun.TextDocument(_about(episode), media_type="text/markdown"), static=True)
    stream.log("gripper/path", rerun.LineStrips3D([episode.states_TD[:, :3]]), static=True)
    for name, names in (("state", STATES), ("action", ACTIONS)):
        for label in names:
            stream.log(f"{name}/{label}", rerun.SeriesLines(names=label), static=True)
    subgoals = dict(episode.subgoals)
    for step, jpeg in enumerate(episode.frames):
        stream.set_time("step", sequence=step)
        stream.set_time("time", duration=step * STEP_S)
        stream.log("camera", rerun.EncodedImage(contents=jpeg, media_type="image/jpeg"))
        for camera, jpegs in episode.extra_frames.items():
            stream.log(f"cameras/{camera}", rerun.EncodedImage(contents=jpegs[step], media_type="image/jpeg"))
        if step in subgoals:
            stream.log("subgoal", rerun.EncodedImage(contents=subgoals[step], media_type="image/jpeg"))
        stream.log("gripper/now", rerun.Points3D([episode.states_TD[step, :3]], radii=0.01))
        rows = [("state", STATES, episode.states_TD[step])]
        if step < len(episode.actions_TD):
            rows.append(("action", ACTIONS, episode.actions_TD[step]))
        for name, names, values in rows:
            for label, value in zip(names, np.asarray(values, float), strict=True):
                stream.log(f"{name}/{label}", rerun.Scalars(value))
    for judged in episode.labels:
        stream.log("labels", rerun.TextLog(_judgement(judged), level="INFO"))


def _about(episode: EncodedEpisode) -> str:
    made = episode.provenance
    rows = {
        "episode": episode.id,
        "scene": episode.scene,
        "policy": made.policy,
        "VLM": made.vlm,
        "subgoal model": made.subgoal_model,
        "robot": made.robot,
        "run": f"{made.run} round {made.round} seed {made.seed}" if made.run else "",
        "faults": ", ".join(made.faults),
    }
    lines = [
        f"# {episode.instruction or '(no instruction)'}",
        "",
        *(f"- {name}: {text}" for name, text in rows.items() if text),
    ]
    return "\n".join([*lines, *(f"- judged: {_judgement(label)}" for label in episode.labels)])


def _judgement(label: Label) -> str:
    verdict = {True: "success", False: "failure", None: "undecided"}[label.success]
    parts = [f"{label.source}: {verdict}"]
    if label.probability is not None:
        parts.append(f"p = {label.probability:.2f}")
    if label.question:
        parts.append(f"{label.question} {label.answer}")
    if label.time_s:
        parts.append(time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(label.time_s)))
    return ", ".join(parts)


def _blueprint(rerun: Any, cameras: Sequence[str]) -> Any:
    views = rerun.blueprint
    further = [views.Spatial2DView(origin=f"cameras/{camera}", name=camera) for camera in cameras]
    return views.Blueprint(
        views.Horizontal(
            views.Vertical(
                views.Horizontal(
                    views.Spatial2DView(origin="camera", name="camera"),
                    *further,
                    views.Spatial2DView(origin="subgoal", name="subgoal"),
                ),
                views.Tabs(
                    views.Spatial3DView(origin="gripper", name="gripper"),
                    views.TextDocumentView(origin="about", name="about"),
                    views.TextLogView(origin="labels", name="labels"),
                ),
            ),
            views.Vertical(
                views.TimeSeriesView(origin="state", name="state"), views.TimeSeriesView(origin="action", name="action")
            ),
        )
    )
