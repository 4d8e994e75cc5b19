from __future__ import annotations

import base64

import pytest
from starlette.requests import Request

from ai_engine.errors import HostUnknown, KeyWrong, RateExceeded
from ai_engine.settings import Settings
from ai_engine.web.api_keys import ApiKeys, new_key, parse_keys, setting_entry
from ai_engine.web.auth import Access, Caller, key_in_url

KEY = new_key()
KEYS = ApiKeys(parse_keys(setting_entry("shop", KEY)))


def asks_until_refused(access: Access, key: str | None, address: str) -> int:
    """How many requests were let through before the rate was exceeded."""
    for count in range(100):
        try:
            access.caller(key, address)
        except KeyWrong:
            continue
        except RateExceeded:
            return count
    return 100


def test_a_known_key_names_its_owner_and_no_key_or_another_is_refused() -> None:
    access = Access(Settings(), KEYS)

    assert access.caller(KEY, "1.2.3.4") == Caller("shop")
    for wrong in (None, "", new_key(), "shop"):
        with pytest.raises(KeyWrong):
            access.caller(wrong, "1.2.3.4")


def test_the_rate_is_the_owners_wherever_they_call_from() -> None:
    access = Access(Settings(requests_per_minute=5), KEYS)

    assert asks_until_refused(access, KEY, "1.2.3.4") == 5
    assert asks_until_refused(access, KEY, "5.6.7.8") == 0


def test_guesses_cost_the_guessers_address_and_never_an_owner() -> None:
    access = Access(Settings(requests_per_minute=5), KEYS)

    assert asks_until_refused(access, "guess", "1.2.3.4") == 5
    assert asks_until_refused(access, KEY, "1.2.3.4") == 5


def test_answers_of_one_key_that_are_open_have_a_bound_and_another_key_has_its_own() -> None:
    access = Access(Settings(max_open_requests_per_key=2), KEYS)
    give_back = [access.open_answers.take("key shop") for _ in range(2)]

    with pytest.raises(RateExceeded, match="read their answers first"):
        access.open_answers.take("key shop")
    access.open_answers.take("key press")
    give_back[0]()
    access.open_answers.take("key shop")


def test_without_keys_addresses_are_counted_where_others_can_reach_the_port() -> None:
    access = Access(Settings(host="0.0.0.0", requests_per_minute=5), ApiKeys())

    assert asks_until_refused(access, None, "1.2.3.4") == 5
    assert asks_until_refused(access, None, "1.2.3.5") == 5
    assert asks_until_refused(access, None, "::ffff:1.2.3.4") == 0


def test_who_asked_too_often_is_told_when_to_come_back_in_whole_seconds() -> None:
    access = Access(Settings(requests_per_minute=1), KEYS)
    access.caller(KEY, "1.2.3.4")

    with pytest.raises(RateExceeded) as refused:
        access.caller(KEY, "1.2.3.4")

    assert refused.value.retry_after_s == 60


def test_an_ipv6_customer_is_one_caller() -> None:
    access = Access(Settings(host="0.0.0.0", requests_per_minute=5), ApiKeys())

    assert asks_until_refused(access, None, "2001:db8:1:2::1") == 5
    assert asks_until_refused(access, None, "2001:db8:1:2:ffff::2") == 0
    assert asks_until_refused(access, None, "2001:db8:1:3::1") == 5


def test_on_this_machine_alone_without_keys_and_with_a_limit_of_0_nobody_is_counted() -> None:
    assert asks_until_refused(Access(Settings(requests_per_minute=5), ApiKeys()), None, "127.0.0.1") == 100
    assert asks_until_refused(Access(Settings(requests_per_minute=0), KEYS), KEY, "1.2.3.4") == 100


def test_an_owner_sees_their_jobs_alone_and_without_keys_everything_is_seen() -> None:
    assert Caller("shop").may_see("shop")
    assert not Caller("shop").may_see("press")
    assert not Caller("shop").may_see(None)
    assert Caller(None).may_see("shop")


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8000",
        "127.0.0.1",
        "[::1]:8000",
        "192.168.1.7:8000",
        "ai-engine:8000",
        "host.docker.internal:8000",
        "studio.localhost",
        "Mesh.Example.com:443",
        "",
    ],
)
def test_without_keys_the_service_is_asked_for_by_a_name_that_nobody_can_register(host: str) -> None:
    Access(Settings(public_url="https://mesh.example.com"), ApiKeys()).check_host(host)


@pytest.mark.parametrize("host", ["evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example."])
def test_a_page_whose_name_was_made_to_lead_here_is_refused(host: str) -> None:
    with pytest.raises(HostUnknown):
        Access(Settings(), ApiKeys()).check_host(host)


@pytest.mark.parametrize(
    ("settings", "keys"),
    [(Settings(), KEYS), (Settings(open_access=True), ApiKeys()), (Settings(host="0.0.0.0"), ApiKeys())],
)
def test_any_name_will_do_where_a_key_or_the_operator_says_who_may_ask(
    settings: Settings, keys: ApiKeys
) -> None:
    Access(settings, keys).check_host("mesh.example.com")


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Basic " + base64.b64encode(b"anyone:aie_1").decode(), "aie_1"),
        ("basic " + base64.b64encode(b":aie_1:2").decode(), "aie_1:2"),
        ("Basic " + base64.b64encode(b"anyone").decode(), None),
        ("Basic " + base64.b64encode(b"\xff:\xff").decode(), None),
        ("Basic %%%", None),
        ("Bearer aie_1", None),
        ("", None),
    ],
)
def test_a_key_in_a_url_is_the_password_of_basic(header: str, key: str | None) -> None:
    scope = {"type": "http", "headers": [(b"authorization", header.encode())]}

    assert key_in_url(Request(scope)) == key


def test_an_operators_key_sees_everybodys_jobs_and_others_their_own() -> None:
    boss = new_key()
    keys = ApiKeys(parse_keys(f"{setting_entry('shop', KEY)},{setting_entry('boss', boss)}"))
    access = Access(Settings(operators="boss"), keys)

    assert access.caller(boss, "1.2.3.4").sees is None
    assert access.caller(boss, "1.2.3.4").may_see("shop")
    assert access.caller(KEY, "1.2.3.4").sees == "shop"
    assert not access.caller(KEY, "1.2.3.4").may_see("boss")
