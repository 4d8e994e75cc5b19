"""SSRF policies from the settings, where callers' URLs may lead: one rule for pictures, one for webhooks."""

from __future__ import annotations

from ai_engine.errors import StartupError
from ai_engine.outbound.addresses import AddressPolicy, parse_exceptions
from ai_engine.settings import Settings


def download_policy(settings: Settings) -> AddressPolicy:
    """The rule for the URLs of pictures.

    Raises:
        StartupError: the setting with the exceptions can't be read.
    """
    return _policy(settings, "allowed_private_download_hosts")


def webhook_policy(settings: Settings) -> AddressPolicy:
    """The rule for the URLs of webhooks.

    Raises:
        StartupError: the setting with the exceptions can't be read.
    """
    return _policy(settings, "allowed_private_webhook_hosts")


def _policy(settings: Settings, setting: str) -> AddressPolicy:
    try:
        exceptions = parse_exceptions(getattr(settings, setting))
    except ValueError as error:
        raise StartupError(f"{setting.upper()}: {error}") from error
    return AddressPolicy(
        exceptions=exceptions,
        is_development=settings.is_development,
        rewrite_loopback_to=settings.rewrite_loopback_to,
    )
