from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from service.conftest import SECRET
from service.house import Outside, free_port
from standardwebhooks import Webhook

import main
from ai_engine.cli.webhook_test import run_webhook_test
from ai_engine.settings import Settings


@pytest.fixture
def outside() -> Iterator[Outside]:
    world = Outside()
    yield world
    world.close()


@pytest.mark.parametrize("form", ["multipart", "binary", "link"])
def test_a_test_delivery_is_signed_in_every_form(outside: Outside, form: str) -> None:
    settings = Settings(webhook_secret=SecretStr(SECRET))

    assert run_webhook_test(settings, outside.url("/hook"), form) == 0  # type: ignore[arg-type]

    (post,) = outside.posts("/hook")
    event = {
        "multipart": lambda: post.parts["event"].decode(),
        "binary": lambda: post.headers["x-generation-event"],
        "link": lambda: post.body.decode(),
    }[form]()
    assert Webhook(SECRET).verify(event, post.headers)["type"] == "webhook.test"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "does it hold the same secret"),
        (302, "Redirects are not followed"),
        (410, "is left alone"),
        (500, "the receiver answered 500"),
    ],
)
def test_what_came_back_is_told_in_plain_words(
    outside: Outside, capsys: pytest.CaptureFixture[str], status: int, words: str
) -> None:
    outside.answers["/hook"] = [(status, {})]

    assert main.main(["webhook-test", outside.url("/hook")]) == 1

    told = capsys.readouterr().out
    assert words in told
    assert "not signed, since WEBHOOK_SECRET is not set" in told


def test_a_receiver_that_is_not_there_and_an_address_that_is_forbidden_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.main(["webhook-test", f"http://127.0.0.1:{free_port()}/"]) == 1
    assert main.main(["webhook-test", "http://169.254.169.254/"]) == 1

    told = capsys.readouterr().out
    assert "does not accept a connection" in told
    assert "not allowed" in told
