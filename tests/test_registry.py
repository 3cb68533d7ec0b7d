"""The registry: names to definitions, without importing what is not asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.registry import METHODS, STREAMS, Registry, normalise


@pytest.fixture
def fruits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry over a package made for the test."""
    package = tmp_path / "fruits_for_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "red_apple.py").write_text('"""A red apple.\n\nMore."""\nFRUIT = "apple"\n')
    (package / "rotten.py").write_text('"""Rotten."""\nraise OSError("worm")\n')
    (package / "empty.py").write_text('"""Defines nothing."""\n')
    (package / "_hidden.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Registry("fruit", "fruits_for_test", "FRUIT")
    for name in [name for name in sys.modules if name.startswith("fruits_for_test")]:
        del sys.modules[name]


def test_file_names_are_keys(fruits: Registry) -> None:
    assert fruits.names() == ["empty", "red-apple", "rotten"]


def test_listing_imports_nothing(fruits: Registry) -> None:
    assert [entry.summary for entry in fruits.entries.values()] == [
        "Defines nothing.",
        "A red apple.",
        "Rotten.",
    ]
    assert "fruits_for_test.rotten" not in sys.modules


@pytest.mark.parametrize("spelling", ["red-apple", "red_apple", "RedApple", "RED-APPLE"])
def test_case_and_dashes_do_not_matter(fruits: Registry, spelling: str) -> None:
    assert fruits.load(spelling) == "apple"
    assert fruits.entry(spelling).key == "red-apple"


def test_an_unknown_name_is_answered_with_the_nearest_and_the_list(fruits: Registry) -> None:
    with pytest.raises(UserError) as caught:
        fruits.load("red-aple")
    message = str(caught.value)
    assert "unknown fruit 'red-aple'; did you mean 'red-apple'?" in message
    assert "empty, red-apple, rotten" in message
    assert "bench list fruits" in message


def test_a_module_that_raises_is_one_line(fruits: Registry) -> None:
    with pytest.raises(UserError, match=r"'rotten' cannot be loaded from .*rotten\.py: OSError: worm"):
        fruits.load("rotten")


def test_a_module_without_the_object_is_refused(fruits: Registry) -> None:
    with pytest.raises(UserError, match=r"empty\.py defines no FRUIT"):
        fruits.load("empty")


def test_every_built_in_has_a_summary() -> None:
    for registry in (METHODS, STREAMS):
        assert registry.names()
        assert all(len(entry.summary) > 20 for entry in registry.entries.values())


@pytest.mark.parametrize("key", METHODS.names())
def test_the_defaults_of_a_method_are_values_that_it_accepts(key: str) -> None:
    # Defaults are not validated as they are, so that `--set` could refuse what a method has without it.
    settings = METHODS.load(key).Hyperparameters
    defaults = settings().model_dump()
    assert settings.model_validate(defaults).model_dump() == defaults


def test_normalise() -> None:
    assert normalise("SD-Lora") == normalise("sd_lora") == "sdlora"
