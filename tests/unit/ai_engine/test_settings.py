from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

import main
from ai_engine.errors import StartupError
from ai_engine.settings import Settings


def test_settings_come_from_the_environment_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("WEBHOOK_DELAYS_S", "0, 5,30")

    settings = Settings()

    assert settings.port == 9000
    assert settings.webhook_delays_s == (0.0, 5.0, 30.0)


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")

    assert Settings().port == 8000


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    settings = Settings(
        webhook_secret="whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
        database_url="postgresql://user:hunter2@db/jobs",
    )

    assert "c2VjcmV0" not in repr(settings)
    assert "hunter2" not in repr(settings)


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("number_of_bytes", [24, 25, 26, 32])
def test_a_signing_secret_of_any_length_is_taken_padded_or_not(number_of_bytes: int) -> None:
    from base64 import b64encode

    key = b64encode(bytes(range(number_of_bytes))).decode()

    assert Settings(webhook_secret=f"whsec_{key}").webhook_secrets == (f"whsec_{key}",)
    assert Settings(webhook_secret=f"whsec_{key.rstrip('=')}").webhook_secrets


def test_two_signing_secrets_can_be_given_while_one_replaces_the_other() -> None:
    settings = Settings(
        webhook_secret="whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0 whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg=="
    )

    assert len(settings.webhook_secrets) == 2


@pytest.mark.parametrize(
    "secret", ["plain", "whsec_", "whsec_!!!", "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0 plain"]
)
def test_a_signing_secret_that_can_not_be_used_is_refused(secret: str) -> None:
    with pytest.raises(ValidationError, match="whsec_"):
        Settings(webhook_secret=secret)


@pytest.mark.parametrize(
    ("profile", "host", "is_development"),
    [
        ("auto", "127.0.0.1", True),
        ("auto", "::1", True),
        ("auto", "localhost", True),
        ("auto", "0.0.0.0", False),
        ("auto", "api.example.com", False),
        ("production", "127.0.0.1", False),
        ("development", "0.0.0.0", True),
    ],
)
def test_the_profile_is_development_only_where_nobody_else_can_connect(
    profile: str, host: str, is_development: bool
) -> None:
    assert Settings(profile=profile, host=host).is_development is is_development


def test_the_database_is_a_file_in_the_data_folder_unless_another_is_named(tmp_path: Path) -> None:
    default = Settings(data_dir=tmp_path)
    postgres = Settings(data_dir=tmp_path, database_url="postgresql://db/jobs")
    named = Settings(database_url=f"sqlite:///{tmp_path}/other.sqlite")

    assert default.jobs_database_url == f"sqlite:///{tmp_path}/jobs.sqlite"
    assert (postgres.sqlite_path, postgres.jobs_database_url) == (
        None,
        "postgresql://db/jobs?connect_timeout=10",
    )
    assert named.sqlite_path == tmp_path / "other.sqlite"


def test_a_negative_delay_is_refused() -> None:
    with pytest.raises(ValidationError, match="negative"):
        Settings(webhook_delays_s=(0, -1))


def test_several_devices_are_one_worker_each_and_none_twice() -> None:
    assert Settings(device="cuda:0,cuda:1").devices == ("cuda:0", "cuda:1")
    assert Settings().devices == ("auto",)
    for wrong in ("cuda:0,cuda:0", "cuda,cuda:1", "cpu,cuda:0", "cuda:0,"):
        with pytest.raises(ValidationError):
            Settings(device=wrong)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_postgres_url_may_be_written_in_any_usual_way(scheme: str) -> None:
    settings = Settings(database_url=f"{scheme}://user:p%40ss@db:5433/jobs?sslmode=require&connect_timeout=3")

    assert settings.jobs_database_url == (
        "postgresql://user:p%40ss@db:5433/jobs?sslmode=require&connect_timeout=3"
    )
    assert settings.shown_database_url == "postgresql://db:5433/jobs"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:hunter2@db/jobs",
        "postgresql+asyncpg://user:hunter2@db/jobs",
        "postgresql://user:hunter2@db",
        "postgresql://user:hunter2@db:port/jobs",
        "postgresql:user:hunter2@db/jobs",
        "sqlite://",
        "hunter2",
    ],
)
def test_a_database_url_that_cant_be_used_is_refused_without_showing_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    assert main.main(["worker"]) == StartupError.exit_status

    told = capsys.readouterr().err
    assert "DATABASE_URL: Value error, must be" in told
    assert "hunter2" not in told


def test_every_secret_is_known_to_the_log_and_shows_in_no_dump() -> None:
    secrets: dict[str, Any] = {
        name: SecretStr(f"hunter2-{name}")
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation) and name not in ("database_url", "webhook_secret")
    }
    settings = Settings(
        **secrets,
        database_url="postgresql://u:p%40ss@db/jobs",
        webhook_secret="whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0 whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg==",
    )
    known = {secret.get_secret_value() for secret in secrets.values()}

    assert set(settings.secret_texts) == known | {
        "p%40ss",
        "p@ss",
        "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
        "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg==",
    }
    for dump in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert not [text for text in settings.secret_texts if text in dump]


def test_several_models_are_named_in_their_order_with_their_variants() -> None:
    first, second, third = Settings(
        models="fine=models/a.ckpt, turbo=b#v2-0-turbo,ball=stand-in"
    ).served_models
    assert (first.name, first.path, first.variant) == ("fine", Path("models/a.ckpt"), None)
    assert (second.name, second.path, second.is_distilled) == ("turbo", Path("b"), True)
    assert Settings().of_model(third).is_stand_in


def test_without_models_the_one_of_model_path_is_served_as_default() -> None:
    (only,) = Settings(model_path=Path("a.ckpt"), model_variant="v2-mini").served_models
    assert (only.name, only.path, only.variant) == ("default", Path("a.ckpt"), "v2-mini")


@pytest.mark.parametrize("models", ["a", "a=", "A=b", "a=b,a=c", "a b=c", "../a=b"])
def test_models_that_cannot_be_told_apart_or_read_are_refused(models: str) -> None:
    with pytest.raises(ValueError, match=r"name=path|same name"):
        Settings(models=models)
