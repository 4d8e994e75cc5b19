from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

import main
from ai_engine.errors import StartupError
from ai_engine.settings import Settings
from ai_engine.web.api_keys import ApiKeys, check_access, new_key, parse_keys, read_keys, setting_entry


def test_a_key_is_known_by_the_hash_that_was_configured_and_no_other_is() -> None:
    shop, press = new_key(), new_key()
    keys = ApiKeys(parse_keys(f"{setting_entry('shop', shop)},{setting_entry('press', press)}"))

    assert (keys.name_of(shop), keys.name_of(press)) == ("shop", "press")
    assert keys.name_of(new_key()) is None
    assert keys.name_of("") is None
    assert keys.name_of(hashlib.sha256(shop.encode()).hexdigest()) is None


def test_every_key_is_another_one_of_at_least_256_bits() -> None:
    keys = {new_key() for _ in range(100)}

    assert len(keys) == 100
    assert all(key.startswith("aie_") and len(key) >= 4 + 43 for key in keys)


def test_two_keys_of_one_name_are_one_caller_while_one_replaces_the_other() -> None:
    old, new = new_key(), new_key()
    keys = ApiKeys(parse_keys(f"{setting_entry('shop', old)} {setting_entry('shop', new)}"))

    assert keys.name_of(old) == keys.name_of(new) == "shop"


def test_a_file_of_keys_has_a_key_a_line_and_notes(tmp_path: Path) -> None:
    key = new_key()
    file = tmp_path / "keys"
    file.write_text(f"# the shop, since May\n{setting_entry('shop', key)}\n\n")

    keys = read_keys(Settings(api_keys_file=file, api_keys=setting_entry("press", new_key())))

    assert keys.name_of(key) == "shop"
    assert [known.name for known in keys.keys] == ["press", "shop"]


@pytest.mark.parametrize("wrong", ["shop", "shop:", f":{'0' * 64}", f"a b:{'0' * 63}", f"shop:{'X' * 64}"])
def test_what_is_no_hash_is_refused_without_being_told(wrong: str) -> None:
    with pytest.raises(StartupError, match="API_KEYS: a key is configured as name:sha256") as refused:
        read_keys(Settings(api_keys=wrong))

    assert wrong not in str(refused.value).replace("a key is configured as name:sha256", "")


def test_a_file_that_is_missing_or_holds_no_key_keeps_the_service_from_starting(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# none yet\n")

    for name in ("missing", "empty"):
        with pytest.raises(StartupError, match="API_KEYS_FILE"):
            check_access(Settings(host="0.0.0.0", api_keys_file=tmp_path / name))


@pytest.mark.parametrize(
    ("settings", "may_start"),
    [
        ({"host": "127.0.0.1"}, True),
        ({"host": "::1"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "192.168.1.5"}, False),
        ({"host": "0.0.0.0", "published_address": "127.0.0.1"}, True),
        ({"host": "0.0.0.0", "published_address": "0.0.0.0"}, False),
        ({"host": "127.0.0.1", "published_address": "0.0.0.0"}, False),
        ({"host": "0.0.0.0", "open_access": True}, True),
        ({"host": "0.0.0.0", "api_keys": f"shop:{'0' * 64}"}, True),
        ({"host": "0.0.0.0", "profile": "development"}, False),
    ],
)
def test_without_keys_the_service_starts_only_where_nobody_else_reaches_it(
    settings: dict[str, Any], may_start: bool
) -> None:
    if may_start:
        check_access(Settings(**settings))
        return
    with pytest.raises(StartupError, match=r"new-key NAME.*HOST=127\.0\.0\.1.*OPEN_ACCESS=1"):
        check_access(Settings(**settings))


@pytest.mark.parametrize("command", ["serve", "api"])
def test_both_ways_to_start_refuse_to_be_open_by_oversight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")

    assert main.main([command]) == os.EX_CONFIG
    assert "there are no API keys" in capsys.readouterr().err


def test_new_key_prints_a_key_and_the_setting_that_lets_it_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["new-key", "shop"]) == 0

    words = capsys.readouterr().out.split()
    key = next(word for word in words if word.startswith("aie_"))
    setting = next(word for word in words if word.startswith("API_KEYS="))
    assert ApiKeys(parse_keys(setting.removeprefix("API_KEYS="))).name_of(key) == "shop"
    assert key not in setting


def test_a_name_that_can_not_be_configured_gets_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["new-key", "the shop:1"]) == 1
    assert capsys.readouterr().out == ""


def test_hashes_do_not_show_when_keys_or_settings_are_printed() -> None:
    line = setting_entry("shop", new_key())
    settings = Settings(api_keys=line)

    assert line.split(":")[1] not in repr(settings) + repr(read_keys(settings))
