"""The error tree: one root, a code of its own for each."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from hy3dgen import errors
from hy3dgen.errors import EmptyImage, ImageError, ShapeModelError

TREE: list[Any] = [
    one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, Exception)
]


@pytest.mark.parametrize("error", TREE)
def test_each_error_hangs_on_the_root(error: type[ShapeModelError]) -> None:
    assert issubclass(error, ShapeModelError)
    assert error.code.isidentifier()


def test_no_two_errors_share_a_code() -> None:
    assert len({error.code for error in TREE}) == len(TREE)


def test_an_empty_picture_is_an_error_of_the_picture() -> None:
    assert issubclass(EmptyImage, ImageError)


def test_the_drawn_tree_names_every_error() -> None:
    assert all(error.__name__ in (errors.__doc__ or "") for error in TREE)
