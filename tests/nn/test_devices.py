"""Which device a model runs on."""

import pytest
import torch

from soar.errors import ConfigError
from soar.nn.devices import usable_device


def test_a_device_that_works_is_returned_and_auto_becomes_one() -> None:
    assert usable_device("cpu") == "cpu"
    assert usable_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "meta:x", ""])
def test_another_one_is_an_error_that_lists_those_that_are_here(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"torch cannot use the device '{name}': .*\. There are: cpu"):
        usable_device(name)
