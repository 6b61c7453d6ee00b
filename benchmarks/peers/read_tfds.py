"""Runs under the Python of `scripts/peer.sh tfds`: pairs per second of tensorflow_datasets with a shuffle buffer.

    python read_tfds.py FOLDER MODE BUFFER BATCHES

Prints one JSON line. MODE `decoded`: episodes as tensorflow_datasets gives them, cut into pairs, shuffled, batched. `encoded`:
frames are left encoded until pairs are shuffled, and are then decoded in parallel, as the performance guide advises.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
import tensorflow_datasets as tfds

BATCH = 256
WINDOW = 24
LONGEST = 1000


def pairs_of(episode: dict[str, Any]) -> tf.data.Dataset:
    """Return (observation, goal, action) of an episode, with goals as the paper chooses them."""
    steps = episode["steps"].batch(LONGEST).get_single_element()
    images, actions = steps["observation"]["image_0"], steps["action"]
    count = tf.shape(actions)[0]
    ahead = tf.random.uniform([count], 0, WINDOW + 1, tf.int32)
    goals = tf.minimum(tf.range(count) + ahead, count - 1)
    return tf.data.Dataset.from_tensor_slices((images, tf.gather(images, goals), actions))


def main() -> None:
    """Measure and print."""
    folder, mode, buffer, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    builder = tfds.builder_from_directory(folder)
    keep: Any = None
    if mode == "encoded":
        keep = {"steps": {"observation": {"image_0": tfds.decode.SkipDecoding()}}}
    episodes = builder.as_dataset(split="unlabelled", shuffle_files=True, decoders=keep).repeat()
    pairs = episodes.interleave(pairs_of, cycle_length=4, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
    pairs = pairs.shuffle(buffer)
    if mode == "encoded":

        def decode(observation: tf.Tensor, goal: tf.Tensor, action: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return tf.io.decode_jpeg(observation), tf.io.decode_jpeg(goal), action

        pairs = pairs.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
    batches = iter(pairs.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE))
    begin_s = time.perf_counter()
    next(batches)
    first_s = time.perf_counter() - begin_s
    for _ in range(2):
        next(batches)
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    for _ in range(count):
        next(batches)
    rates = {
        "pairs_per_s": count * BATCH / (time.perf_counter() - begin_s),
        "pairs_per_cpu_s": count * BATCH / (time.process_time() - begin_cpu_s),
    }
    resident_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(rates | {"first_batch_s": first_s, "resident_mb": resident_mb}))


if __name__ == "__main__":
    main()
