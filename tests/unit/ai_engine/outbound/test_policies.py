from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ai_engine.errors import StartupError
from ai_engine.outbound.addresses import AddressForbidden, AddressPolicy
from ai_engine.outbound.policies import download_policy, webhook_policy
from ai_engine.settings import Settings

Kind = Callable[[Settings], AddressPolicy]
KINDS = {"download": download_policy, "webhook": webhook_policy}


def settings(tmp_path: Path, **changes: object) -> Settings:
    return Settings(**{"data_dir": tmp_path, "host": "0.0.0.0", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", KINDS)
def test_an_exception_opens_its_own_kind_of_address_and_no_other(tmp_path: Path, name: str) -> None:
    chosen = settings(tmp_path, **{f"allowed_private_{name}_hosts": "10.0.0.5:8080"})
    for kind, policy in KINDS.items():
        asked = policy(chosen)
        if kind == name:
            assert asked.addresses("10.0.0.5", 8080, timeout_s=60.0) == ["10.0.0.5"]
            continue
        with pytest.raises(AddressForbidden):
            asked.addresses("10.0.0.5", 8080, timeout_s=60.0)


@pytest.mark.parametrize("policy", KINDS.values())
def test_exceptions_that_can_not_be_read_name_their_setting(tmp_path: Path, policy: Kind) -> None:
    chosen = settings(tmp_path, allowed_private_download_hosts="nas", allowed_private_webhook_hosts="nas")
    with pytest.raises(StartupError, match=r"ALLOWED_PRIVATE_\w+_HOSTS: "):
        policy(chosen)


@pytest.mark.parametrize("policy", KINDS.values())
def test_this_machine_is_open_in_development_alone(tmp_path: Path, policy: Kind) -> None:
    assert policy(settings(tmp_path, host="127.0.0.1")).is_development
    assert not policy(settings(tmp_path)).is_development
