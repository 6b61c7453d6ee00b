"""States and actions of an RLDS episode: seven numbers a step, or, with a map, some of whatever is beside or below them.

Shape suffixes: N steps, D numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.errors import FormatError
from soar.formats import tfrecord
from soar.formats.rlds_features import ACTION, FLAGS, STATE, WITHIN, Features, as_bytes, listed, vectors
from soar.formats.tfrecord_part import read_part
from soar.formats.vector_maps import PLAIN, VectorConfig, VectorMap, parse_map
from soar.formats.vector_survey import Measured

_COUNTED = ("steps/is_first", "steps/is_last", "steps/is_terminal", "steps/reward", "steps/discount")
_LARGEST_BYTES = 2**20
"""Features above it are images, and no vectors."""


def read_vectors(features: Features, name: str, config: VectorConfig, steps: int, place: str) -> NDArray[np.float32]:
    """Return the states or the actions (N, 7) of an episode.

    Args:
        features: Of the episode.
        name: `STATE` or `ACTION`.
        config: With a map, its sources are the places in the vector `name`, and NAME[PLACE] of the entries beside it (of a
            state) or below it (of an action).
        steps: N.
        place: File and offset, for messages.

    Raises:
        FormatError: There is no such vector, or it has not seven numbers and there is no map; the message lists what is there.
        ConfigError: The map is none.
    """
    map, values_ND = _columns(features, name, config, steps, place)
    return map(values_ND, place)


def measured_records(records: Iterable[tfrecord.Record], camera: str, config: VectorConfig) -> Iterator[Measured]:
    """Yield what is judged by its size in the N states and the N actions of each record; images are not read."""
    names = {STATE, ACTION, *_COUNTED}

    def wanted(name: str, size: int) -> bool:
        below = (config.state_map and name.startswith(WITHIN[STATE])) or (config.action_map and name.startswith(WITHIN[ACTION]))
        return name in names or bool(below and size < _LARGEST_BYTES)

    for record in records:
        try:
            features = tfrecord.parse_example(read_part(record, wanted), record.place)
            counts = [len(features[name]) for name in _COUNTED if len(features.get(name, ()))]
            if not counts and (config.state_map or config.action_map):
                features = tfrecord.parse_example(tfrecord.read(record), record.place)
                counts = [len(as_bytes(features.get(f"steps/observation/{camera}", ())))]
            steps = counts[0] if counts else 0
            numbers = [
                map.measured(values) for map, values in (_columns(features, n, config, steps, "") for n in (STATE, ACTION))
            ]
        except FormatError:
            # What is wrong with it is said when it is read.
            continue
        yield numbers[0], numbers[1]


def _columns(features: Features, name: str, config: VectorConfig, steps: int, place: str) -> tuple[VectorMap, NDArray[Any]]:
    """Return the map of a state or an action, and the numbers (N, D) that it is for."""
    text = config.state_map if name == STATE else config.action_map
    if not text:
        return PLAIN, vectors(features, name, PLAIN.count, steps, place)
    prefix = WITHIN[name]
    columns: list[NDArray[Any]] = []
    names: list[str] = []
    for key in sorted(features, key=lambda key: (key != name, key)):
        values = features[key]
        if not (key == name or key.startswith(prefix)) or not isinstance(values, np.ndarray):
            continue
        if steps and values.size and values.size % steps == 0:
            columns.append(values.reshape(steps, -1))
            numbers = range(values.size // steps)
            names += ["" if key == name else f"{key.removeprefix(prefix)}[{number}]" for number in numbers]
    if not columns:
        raise FormatError(f"{place}: no numbers for {FLAGS[name]}, {listed(features, name, steps)}")
    return parse_map(text, names, flag=FLAGS[name]), np.concatenate(columns, axis=1)
