from __future__ import annotations

import pytest

from ai_engine.access import Access, Caller
from ai_engine.errors import KeyWrong, RateExceeded
from ai_engine.keys import ApiKeys, configured, new_key, parse_keys
from ai_engine.settings import Settings

KEY = new_key()
KEYS = ApiKeys(parse_keys(configured("shop", KEY)))


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
