from __future__ import annotations

from ipaddress import ip_address

import pytest

from ai_engine.outbound.address_ranges import is_metadata, is_public


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:4700:4700::1111", "2002:5db8:d822::1"])
def test_a_public_address_is_public_tunnelled_or_not(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1",
        "127.0.0.1",
        "100.64.0.1",
        "224.0.0.1",
        "192.88.99.1",
        "::1",
        "fe80::1",
        "fc00::1",
        "2001:db8::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "2606:4700::5efe:a00:1",
    ],
)
def test_what_is_not_globally_routable_is_not_public_tunnelled_or_not(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "text", ["169.254.169.254", "168.63.129.16", "fd00:ec2::254", "::ffff:169.254.169.254"]
)
def test_the_addresses_at_which_clouds_hand_out_credentials_are_known(text: str) -> None:
    assert is_metadata(ip_address(text))
    assert not is_metadata(ip_address("93.184.216.34"))
