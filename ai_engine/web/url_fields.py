"""URLs in the fields of a request: held to a rule, their names looked up at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ai_engine.errors import InvalidField
from ai_engine.outbound.addresses import AddressForbidden, AddressPolicy


@dataclass(frozen=True)
class UrlField:
    """A URL in a field, the rule that it is held to, and the code of its refusal."""

    policy: AddressPolicy
    field: str
    url: str
    code: str

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Raises InvalidField, which names the field, where the block finds the address forbidden."""
        try:
            yield
        except AddressForbidden as error:
            raise InvalidField(self.field, str(error), code=self.code) from error


def check_urls(fields: Iterable[UrlField]) -> None:
    """Checks all of them in the time of the slowest.

    Raises:
        InvalidField: one may not be used.
    """
    begun = []
    for one in fields:
        with one.refusing():
            begun.append((one, one.policy.begin_check(one.url)))
    for one, finish in begun:
        with one.refusing():
            finish()
