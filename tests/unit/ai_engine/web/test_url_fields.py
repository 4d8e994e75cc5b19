from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from ai_engine.errors import InvalidField
from ai_engine.outbound.addresses import AddressPolicy
from ai_engine.web.url_fields import UrlField, check_urls


def fields(policy: AddressPolicy, *urls: str) -> list[UrlField]:
    return [UrlField(policy, f"url_{number}", url, "url_forbidden") for number, url in enumerate(urls)]


def test_all_names_are_looked_up_at_once() -> None:
    together = threading.Barrier(3, timeout=60)

    def resolve(host: str, port: int) -> Sequence[str]:
        together.wait()  # nobody passes before all three are being looked up
        return ["93.184.216.34"]

    check_urls(fields(AddressPolicy(resolve=resolve), *(f"https://{name}.example/" for name in "abc")))


def test_the_field_that_may_not_be_used_is_named() -> None:
    policy = AddressPolicy(
        resolve=lambda host, port: ["10.0.0.1" if host == "b.example" else "93.184.216.34"]
    )

    with pytest.raises(InvalidField) as caught:
        check_urls(fields(policy, "https://a.example/", "https://b.example/"))

    assert (caught.value.field, caught.value.field_code) == ("url_1", "url_forbidden")


def test_what_can_be_seen_to_be_forbidden_asks_no_name_service() -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["93.184.216.34"]

    policy = AddressPolicy(resolve=resolve)
    with pytest.raises(InvalidField):
        check_urls(fields(policy, "http://10.0.0.1/", "https://a.example/"))

    assert asked == []
