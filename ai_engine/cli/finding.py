"""One line of the doctor's report, and the checks that give them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ai_engine.settings import Settings


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    text: str
    remedy: str | None = None
    """What to do; None when all is well."""

    def __str__(self) -> str:
        return f"ok  {self.text}" if self.remedy is None else f"!!  {self.text}\n      {self.remedy}"


Check = Callable[[Settings], Iterator[Finding]]
