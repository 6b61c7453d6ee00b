"""What is counted, as Prometheus reads it."""

from __future__ import annotations

import math

import pytest

from soar.prometheus import BOUNDS_S, Histogram, MetricsText, merged


def of(*seconds: float) -> Histogram:
    histogram = Histogram()
    for one in seconds:
        histogram.add(one)
    return histogram


def test_a_time_is_counted_at_the_smallest_bound_that_holds_it_and_all_counts_add_up() -> None:
    histogram = merged([of(0.0, 0.005, 0.006), of(119.0, 121.0), Histogram()])
    assert histogram.counts == [2, 1, *[0] * (len(BOUNDS_S) - 3), 1, 1]
    assert histogram.total_s == pytest.approx(240.011)
    assert Histogram.read(histogram.plain()) == histogram
    assert [histogram.below(share) for share in (0.4, 0.5, 0.8, 1.0)] == [0.005, 0.01, 120.0, math.inf]
    assert math.isnan(Histogram().below(0.5))


def test_a_text_has_each_name_once_and_buckets_that_grow() -> None:
    text = MetricsText("soar")
    text.add("waiting", "gauge", "Those that wait.", [({}, 3), ({"robot": 'the "first"\n'}, 12_345_678)])
    text.histogram("seconds", "How long it took.", [({"kind": "policy"}, of(0.03, 0.04, 500.0))])
    lines = str(text).splitlines()
    assert lines[:4] == [
        "# HELP soar_waiting Those that wait.",
        "# TYPE soar_waiting gauge",
        "soar_waiting 3",
        'soar_waiting{robot="the \\"first\\"\\n"} 12345678',
    ]
    assert lines[5] == "# TYPE soar_seconds histogram"
    buckets = [int(line.rpartition(" ")[2]) for line in lines if "_bucket" in line]
    assert buckets == [0, 0, 0, *[2] * (len(BOUNDS_S) - 3), 3]
    assert lines[-2:] == ['soar_seconds_sum{kind="policy"} 500.07', 'soar_seconds_count{kind="policy"} 3']
