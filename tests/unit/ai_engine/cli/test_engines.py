from __future__ import annotations

import argparse

import pytest

import main
from ai_engine.cli.endings import UsageError
from ai_engine.cli.engines import KEY_VARIABLE, add_server_flags, engine_of, key_of


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_server_flags(parser)
    return parser.parse_args(arguments)


def test_the_key_is_that_of_the_flag_or_else_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ("--server", "http://localhost:8000")
    assert key_of(parsed(*server)) is None
    monkeypatch.setenv(KEY_VARIABLE, "aie_of_environment")
    assert key_of(parsed(*server)) == "aie_of_environment"
    assert key_of(parsed(*server, "--key", "aie_of_flag")) == "aie_of_flag"


def test_without_a_service_the_environments_key_is_left_alone_and_a_flag_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "aie_of_environment")
    assert key_of(parsed()) is None
    with pytest.raises(UsageError, match="--server"):
        key_of(parsed("--key", "aie_of_flag"))


def test_an_address_without_a_scheme_is_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="http://"):
        engine_of(parsed("--server", "mesh.example.com"))
    for command in ("mcp", "generate"):
        words = [command, *(["a.png"] if command == "generate" else []), "--server", "mesh.example.com"]
        assert main.main(words) == 2
        assert "http://" in capsys.readouterr().err


def test_the_help_of_mcp_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["mcp", "--help"])
    assert "ai-engine mcp --server" in capsys.readouterr().out
