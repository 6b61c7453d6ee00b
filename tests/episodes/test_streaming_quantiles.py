from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from soar.episodes.streaming_quantiles import QUANTILES, distribution, from_arrays

numbers = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
vectors = hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(2)), elements=numbers)


@given(vectors)
def test_quantiles_are_those_of_the_values_to_within_a_thousandth(values_ND: np.ndarray) -> None:
    found = distribution(values_ND).summary()
    assert found["count"] == len(values_ND)
    np.testing.assert_array_equal(found["min"], values_ND.min(0))
    np.testing.assert_array_equal(found["max"], values_ND.max(0))
    for name, share in QUANTILES.items():
        exact = np.quantile(values_ND, share, axis=0, method="inverted_cdf")
        # The least normal float is the middle of what is called zero.
        np.testing.assert_allclose(found[name], exact, rtol=1e-3, atol=2e-38)


@given(vectors, vectors)
def test_a_sum_is_the_distribution_of_both(one: np.ndarray, two: np.ndarray) -> None:
    summed, whole = (distribution(one) + distribution(two)).summary(), distribution(np.concatenate([one, two])).summary()
    assert summed.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_allclose(summed[name], value, rtol=1e-6, atol=1e-6)


def test_moments_are_those_of_the_values() -> None:
    values = np.random.default_rng(0).normal([0.0, 1.0], [0.01, 3.0], (1000, 2)).astype(np.float32)
    found = distribution(values).summary()
    np.testing.assert_allclose(found["mean"], values.mean(0, dtype=np.float64), atol=1e-9)
    np.testing.assert_allclose(found["std"], values.std(0, dtype=np.float64), rtol=1e-6)


def test_nothing_has_a_distribution_too_and_adds_nothing() -> None:
    nothing, something = distribution(np.empty((0, 2), np.float32)), distribution(np.ones((3, 2), np.float32))
    assert nothing.summary() == {"count": 0}
    assert (nothing + something).summary() == something.summary()


@pytest.mark.parametrize("count", [0, 5])
def test_it_comes_back_from_arrays(count: int) -> None:
    written = distribution(np.random.default_rng(0).random((count, 2), np.float32))
    assert from_arrays(written.arrays()).summary() == written.summary()
    with pytest.raises(KeyError):
        from_arrays({"something": np.zeros(3)})
