"""How fast datasets of other formats are imported, against another revision of this project, in one run.

    git worktree add /tmp/before REVISION
    OMP_NUM_THREADS=1 python benchmarks/importing.py --before /tmp/before

Both revisions import the same healthy data, a process each, by turns. What counts is the ratio of the medians: more than 1
where the import became faster. Nothing is written to `results/`: a figure says something about two revisions only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from soar.episodes import EncodedEpisode, EpisodeStore
from soar.episodes import jpeg as frames
from soar.formats.lerobot_export import export_lerobot
from soar.formats.rlds_export import export_rlds
from soar.formats.steps import actions_of_steps
from soar.formats.video import VideoWriter

ROOT = Path(__file__).parents[1]
SIZE, STEPS, EPISODES = 128, 60, 60
TASK = "put the green block in the wooden bowl"
CAMERA = "observation.images.front"
IMPORT = """
import sys, time, tempfile
from soar.cli import main
kind, folder, parts = sys.argv[1], sys.argv[2], sys.argv[3:]
with tempfile.TemporaryDirectory() as aside:
    assert main(["data", "import", kind, folder, "--store", aside + "/warm", "--limit", "1"]) == 0
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    assert main(["data", "import", kind, folder, "--store", aside + "/store"]) == 0
    print("\\nMEASURED", time.perf_counter() - begin_s, time.process_time() - begin_cpu_s)
"""


def episode(number: int) -> EncodedEpisode:
    """Return an episode of smooth pictures with a little noise, and of an arm that does what it is told."""
    rng = np.random.default_rng(number)
    ramp = np.linspace(0, 150, SIZE)[:, None, None] + np.linspace(0, 60, SIZE)[None, :, None]
    shift = rng.uniform(0, 30, (STEPS + 1, 1, 1, 3))
    images = (ramp + shift + rng.integers(0, 12, (STEPS + 1, SIZE, SIZE, 3))).astype(np.uint8)
    actions = rng.normal(0, 0.01, (STEPS, 7)).astype(np.float32)
    states = np.cumsum(np.vstack([np.zeros((1, 7)), actions]), axis=0).astype(np.float32)
    actions[:, 6] = np.arange(STEPS) < STEPS / 2
    states[:, 6] = np.r_[1, actions[:, 6]]
    return EncodedEpisode(
        id=f"e{number}",
        scene="1",
        instruction=TASK,
        frames=tuple(frames.encode_all(images)),
        states_TD=states,
        actions_TD=actions,
    )


def prepare(folder: Path) -> dict[str, tuple[str, Path]]:
    """Return, by name, the format and the folder of each dataset; they are made where they are missing."""
    made = {
        "LeRobot, images": ("lerobot", folder / "lerobot-images"),
        "LeRobot, video": ("lerobot", folder / "lerobot-video"),
        "RLDS": ("rlds", folder / "rlds" / "soar_dataset" / "1.0.0"),
        "raw": ("raw", folder / "raw"),
    }
    if (folder / "whole").exists():
        return made
    shutil.rmtree(folder, ignore_errors=True)
    store = EpisodeStore(folder / "store", mode="create")
    for number in range(EPISODES):
        store.append(episode(number))
    export_lerobot(store, folder / "lerobot-video", codec="h264")
    export_rlds(store, folder / "rlds")
    for dataset in (folder / "lerobot-video", folder / "rlds" / "soar_dataset" / "1.0.0"):
        shutil.rmtree(dataset / "soar")
    episodes = [store.read_encoded(record.id) for record in store.episodes()]
    write_images(folder / "lerobot-images", folder / "lerobot-video", episodes)
    for number, one in enumerate(episodes):
        write_raw(folder / "raw" / f"traj{number}", one)
    (folder / "whole").touch()
    return made


def write_images(folder: Path, video: Path, episodes: list[EncodedEpisode]) -> None:
    """Write the dataset of `video` with its images in cells of the table."""
    shutil.copytree(video, folder, ignore=shutil.ignore_patterns("videos"))
    info = json.loads((folder / "meta" / "info.json").read_text())
    (camera,) = (name for name, feature in info["features"].items() if feature["dtype"] == "video")
    info["features"][camera] = {"dtype": "image", "shape": [SIZE, SIZE, 3], "names": ["height", "width", "channels"]}
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    (path,) = (folder / "data").rglob("*.parquet")
    cells = [{"bytes": jpeg, "path": None} for one in episodes for jpeg in one.frames]
    column = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pq.read_table(path).append_column(camera, column), path, row_group_size=1000)


def write_raw(folder: Path, one: EncodedEpisode) -> None:
    """Write an episode as a raw trajectory."""
    folder.mkdir(parents=True)
    np.save(folder / "actions.npy", actions_of_steps(one))
    np.save(folder / "eef_poses.npy", one.states_TD)
    video = VideoWriter(folder / "trajectory.mp4", fps=5, size=(SIZE, SIZE), codec="h264")
    for image in frames.decode_all(one.frames):
        video.add(image)
    video.close()
    (folder / "language_task.txt").write_text(one.instruction)
    (folder / "success.txt").write_text("True")


def measure(tree: Path, kind: str, folder: Path) -> tuple[float, float]:
    """Return the seconds of the clock and of the processor that a revision takes for an import."""
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "COLUMNS": "100"}
    command = [sys.executable, "-c", IMPORT, kind, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("MEASURED"))
    clock_s, cpu_s = map(float, line.split()[1:])
    return clock_s, cpu_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="a worktree of another revision")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "importing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="datasets whose name begins so")
    arguments = parser.parse_args()
    for name, (kind, folder) in prepare(arguments.folder).items():
        if not name.startswith(arguments.only):
            continue
        rounds = [(measure(arguments.before, kind, folder), measure(ROOT, kind, folder)) for _ in range(arguments.rounds)]
        for which, unit in enumerate(("s", "CPU-s")):
            before, now = (statistics.median(each[tree][which] for each in rounds) for tree in (0, 1))
            print(f"{name}: {before:.3f} {unit} before, {now:.3f} now: {before / now:.2f} times as fast", flush=True)


if __name__ == "__main__":
    main()
