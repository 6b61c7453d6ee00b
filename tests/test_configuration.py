"""YAML becomes dataclasses; mistakes become messages."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from soar.configuration import find, read_yaml, validate
from soar.errors import ConfigError, UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Inner:
    steps: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"steps must be at least 1, got {self.steps}")


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    many: dict[str, Inner] = field(default_factory=dict)


def test_nested_mappings_become_dataclasses() -> None:
    built = validate(Outer, {"name": "a", "inner": {"steps": 3}, "many": {"x": {"steps": 2}}}, "here")
    assert built == Outer(name="a", inner=Inner(steps=3), many={"x": Inner(steps=2)})


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"name": "a", "stepz": 1}, "here"),
        ({"name": "a", "inner": {"stepz": 1}}, "here: inner"),
        ({"name": "a", "maybe": {"stepz": 1}}, "here: maybe"),
        ({"name": "a", "many": {"x": {"stepz": 1}}}, "here: many.x"),
    ],
)
def test_an_unknown_key_is_refused_however_deep_it_is(data: dict[str, object], where: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"unknown key 'stepz'.*In {where}\.") as raised:
        validate(Outer, data, "here")
    assert raised.value.name == "stepz"


def test_a_value_of_the_wrong_kind_names_its_key() -> None:
    with pytest.raises(ConfigError, match=r"here: inner\.steps: .*integer"):
        validate(Outer, {"name": "a", "inner": {"steps": "many"}}, "here")


def test_a_value_that_is_refused_is_said_with_the_file_once() -> None:
    with pytest.raises(ConfigError, match=r"^lab\.yaml: steps must be at least 1, got 0$"):
        validate(Outer, {"name": "a", "inner": {"steps": 0}}, "lab.yaml")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="here: name: Field required"):
        validate(Outer, {}, "here")


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'scene1'\? Valid choices: scene1, scene1-far, scene2"):
        find("scenes", "scene_1")


@pytest.mark.parametrize(("text", "message"), [("- 1\n", "expected a mapping"), ("a: [", "not valid YAML")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_yaml(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "missing.yaml")
