from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from ai_engine.errors import LinkExpired, LinkInvalid
from ai_engine.webhooks.signed_links import Links

JOB = "f" * 32
LINKS = Links(b"k" * 32, ttl_s=60, public_url="https://mesh.example.com")


def parts(links: Links = LINKS) -> tuple[str, str]:
    """The two parameters of a link made at second 1000."""
    url = links.url(JOB, "a1.stl", 1000.0)
    assert url is not None
    said = parse_qs(urlsplit(url).query)
    return said["expires"][0], said["signature"][0]


def test_a_link_holds_until_its_moment_and_then_says_that_it_has_expired() -> None:
    expires, signature = parts()

    LINKS.check(JOB, "a1.stl", expires, signature, 1059.0)
    with pytest.raises(LinkExpired):
        LINKS.check(JOB, "a1.stl", expires, signature, 1061.0)


def test_a_link_opens_one_file_of_one_job_until_one_moment() -> None:
    expires, signature = parts()

    for job_id, name, until, signed in [
        ("e" * 32, "a1.stl", expires, signature),
        (JOB, "a2.stl", expires, signature),
        (JOB, "a1.stl", str(int(expires) + 1), signature),
        (JOB, "a1.stl", expires, signature[:-1]),
        (JOB, "a1.stl", expires, "ü"),
        (JOB, "a1.stl", "", ""),
        (JOB, "a1.stl", "never", signature),
    ]:
        with pytest.raises(LinkInvalid):
            LINKS.check(job_id, name, until, signed, 1000.0)


def test_another_key_opens_nothing() -> None:
    with pytest.raises(LinkInvalid):
        LINKS.check(JOB, "a1.stl", *parts(Links(b"x" * 32, 60, "https://mesh.example.com")), 1000.0)


def test_without_a_public_address_there_are_no_links() -> None:
    assert Links(b"k" * 32, 60).url(JOB, "a1.stl", 0.0) is None
