"""Every tunable, with its unit in its name. The environment is read here, once, and nowhere else.

Each field is the environment variable of the same name in capitals. `docs/settings.md` is checked against
this file.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from sysconfig import get_path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ai_engine.errors import StartupError
from ai_engine.facts import Speed
from ai_engine.job import WebhookFormat
from ai_engine.published_weights import usual_territory

Seconds = Annotated[float, Field(gt=0)]
POSTGRES_SCHEMES = ("postgres", "postgresql", "postgresql+psycopg")
DATABASE_CONNECT_TIMEOUT_S = 10
MIN_SECRET_BYTES = 24
"""Of a webhook secret, as Standard Webhooks asks for."""
EMBEDDED_MODEL = Path("models/tiny/tiny.safetensors")
CompatibleRoutes = Literal["meshes", "hunyuan3d"]
MattingModel = Literal["tiny", "isnet-general-use", "u2net", "birefnet-general", "none"]


def find_shipped(file: str) -> Path:
    """Where a file lies that comes with the code: beside it, or where pip puts the data of an installed package."""
    beside = Path(__file__).resolve().parents[1] / file
    return beside if beside.exists() else Path(get_path("data"), "share", "ai-engine", file)


STAND_IN = "stand-in"
DEFAULT_MODEL = "default"
"""The name of MODEL_PATH's model."""


_MODEL_PLACE = re.compile(r"(?P<name>[a-z0-9][a-z0-9.-]{0,39})=(?P<path>[^#]+)(#(?P<variant>[\w.-]+))?")


@dataclass(frozen=True)
class ModelPlace:
    """A shape model as it is served: its name in requests, its checkpoint, and its published name where one is said."""

    name: str
    path: Path
    variant: str | None = None

    @property
    def is_distilled(self) -> bool:
        """True when the checkpoint's published name is of a distilled model."""
        return (self.variant or "").endswith("-turbo")


class Settings(BaseSettings):
    """The service's settings. Secrets are masked in `repr`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = Field(default="127.0.0.1", description="Address the HTTP port is opened on.")
    port: int = Field(default=8000, ge=0, le=65535, description="The HTTP port.")
    profile: Literal["auto", "development", "production"] = Field(
        default="auto",
        description="development lets callers' URLs lead to this machine (loopback, host.docker.internal). "
        "auto: development when HOST is a loopback address.",
    )
    published_address: str | None = Field(
        default=None,
        description="In a container: the address that its port is published on. Decides, instead of HOST, whether "
        "others can reach the service, and so whether it needs keys.",
    )
    api_keys: SecretStr | None = Field(
        default=None,
        description="name:sha256,... of the keys that callers must send; python main.py new-key NAME makes one. "
        "None: everybody is let in, which is refused where others can reach the port.",
    )
    api_keys_file: Path | None = Field(
        default=None, description="A file of more such keys, one a line; read at start."
    )
    operators: str = Field(
        default="",
        description="name,...: the owners of these keys see, stop and redeliver everybody's jobs, at the API and on "
        "the page /operate. Without keys everybody is one.",
    )
    open_access: bool = Field(
        default=False,
        description="Start without keys though others can reach the port. Whoever does can use the device, read and "
        "cancel every job, and have this machine fetch public addresses.",
    )
    metrics_open: bool = Field(
        default=False, description="Answer GET /metrics without a key; it holds numbers, no caller's data."
    )
    requests_per_minute: int = Field(
        default=600,
        ge=0,
        description="Requests that one key, or without keys one address, may send; more get 429. Each API process "
        "counts for itself. Not applied where there are no keys and only this machine can reach the port. 0: no limit.",
    )
    max_open_jobs_per_key: int = Field(
        default=100, ge=0, description="Jobs of one key that may wait or run at once. 0: no limit."
    )
    max_open_streams_per_key: int = Field(
        default=100,
        ge=0,
        description="Event streams that one key, or without keys one address, may hold open at each API process. 0: "
        "no limit.",
    )
    max_open_requests: int = Field(
        default=500, ge=1, description="Requests one API process answers at once, streams included."
    )
    max_open_requests_per_key: int = Field(
        default=200,
        ge=0,
        description="Of these, those of one key; downloads that are not read count too. 0: no limit.",
    )
    max_bodies_bytes: int = Field(
        default=512_000_000,
        ge=1,
        description="Bytes of request bodies one API process holds at once, those of 64 KiB or less not counted. They "
        "lie in temporary files (TMPDIR). More are refused with 503.",
    )
    max_bodies_bytes_per_key: int = Field(
        default=128_000_000,
        ge=1,
        description="Of these, those of one key, or without keys of one address. More are refused with 429; a single "
        "body is taken.",
    )
    max_connections: int = Field(
        default=2000,
        ge=1,
        description="Connections one API process keeps, never more than its file descriptors allow. At the limit, "
        "those that are idle or do not read their answer give way.",
    )
    max_connections_per_address: int = Field(
        default=500,
        ge=0,
        description="Of these, those of one address. 0, no limit, where all callers come through one proxy.",
    )
    request_timeout_s: Seconds = Field(
        default=60, description="Seconds in which a request's body must have come."
    )
    cors_origins: str = Field(
        default="",
        description="https://app.example.com,...: pages of these origins may use the API from a browser.",
    )
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto",
        description="How log lines are written. auto: text for a terminal, else JSON.",
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None,
        description="Where traces go, by OTLP over HTTP: http://collector:4318. Needs requirements-otel.txt. None: no "
        "traces.",
    )
    studio: bool = Field(
        default=True,
        description="Serve the studio, a page to try the service and look at its jobs, at /; the API as a page at "
        "/docs; /llms.txt.",
    )
    mcp: bool = Field(
        default=False,
        description="Serve tools for assistants at /mcp (Model Context Protocol, streamable HTTP), with the keys and "
        "limits of the API.",
    )
    compatible_routes: Annotated[tuple[CompatibleRoutes, ...], NoDecode] = Field(
        default=(),
        description="meshes,hunyuan3d: routes of other services besides, for clients that exist: SGLang's /v1/meshes; "
        "/generate, /send and /status of Hunyuan3D-2's server (docs/compatible.md).",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important line that is written."
    )

    data_dir: Path = Field(default=Path("data"), description="Where jobs' files lie, and the SQLite file.")
    artifacts_url: str | None = Field(
        default=None,
        pattern=r"^s3://[^/?#]+(/[^?#]*)?$",
        description="s3://bucket/prefix: jobs' files lie there, for several machines; keys and region from AWS's "
        "usual variables. A prefix belongs to one DATABASE_URL.",
    )
    artifacts_endpoint_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="The S3-compatible server of ARTIFACTS_URL; AWS unless given.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="Database of the jobs: sqlite:///path or postgresql://user:password@host:port/database; "
        "jobs.sqlite in DATA_DIR unless given.",
    )
    retention_hours: float = Field(
        default=168,
        gt=0,
        description="Hours after its end that a job's files are kept, longer while a delivery waits; the job itself, "
        "and its Idempotency-Key, go a day later.",
    )
    min_free_disk_bytes: int = Field(
        default=2_000_000_000,
        ge=0,
        description="With less free where DATA_DIR lies, new jobs are refused with 429, and waiting ones not begun.",
    )
    max_queued_jobs: int = Field(
        default=1000,
        ge=1,
        description="Jobs that may wait; more are refused with 429, but for one job of a key that has none open.",
    )
    job_timeout_s: Seconds = Field(
        default=900,
        le=3600,
        description="Seconds of work after which a job fails, unless it brings its own timeout_s.",
    )
    job_max_attempts: int = Field(
        default=3,
        ge=1,
        description="How often a stage of a job may kill its worker, before the job is worker_lost.",
    )
    jobs_in_flight: int = Field(
        default=3,
        ge=1,
        le=32,
        description="Jobs of one API key that one worker holds at once, besides those whose pictures it downloads; "
        "only one job is on the device.",
    )
    owners_in_flight: int = Field(
        default=8,
        ge=1,
        le=100,
        description="API keys whose jobs one worker holds at once, as many of each; they take turns in every stage.",
    )
    downloads_in_flight: int = Field(
        default=8, ge=1, le=100, description="Pictures that one worker downloads at once, masks with them."
    )
    downloads_per_owner: int = Field(
        default=3, ge=1, le=100, description="Most of these that one API key's jobs download."
    )
    queue_poll_s: Seconds = Field(default=0.5, description="Seconds between two polls of the queue.")
    lease_s: Seconds = Field(
        default=15,
        description="A worker's lease: after so many seconds without a heartbeat another worker takes its jobs over.",
    )
    stage_grace_s: Seconds = Field(
        default=60,
        description="Seconds that a stage may stay silent after its job was cancelled or its time was over; "
        "then the worker is restarted to end it.",
    )
    device_silence_s: Seconds = Field(
        default=300,
        description="Seconds that work on a GPU may take between two steps before it counts as hung; "
        "then the worker is restarted. On a CPU only the job's time counts.",
    )
    drain_s: Seconds = Field(
        default=30,
        description="Seconds that jobs in flight get to finish when the process is stopped. "
        "Meanwhile `serve` answers, new jobs with `503`.",
    )

    model_path: Path = Field(
        default=EMBEDDED_MODEL, validate_default=True, description="The shape model's checkpoint."
    )
    model_variant: str | None = Field(
        default=None,
        description="The published name of the checkpoint's model where its file does not say; "
        "stand-in: a sphere, no checkpoint, to try the service.",
    )
    models: str | None = Field(
        default=None,
        description="name=path,...: several shape models of one worker, in place of MODEL_PATH; a request's `model` is "
        "one of the names, the first unless given. A path may end with #VARIANT, as MODEL_VARIANT; stand-in is one.",
    )
    territory: str | None = Field(
        default=None,
        description="Country code of where the service is used, or EU: a model whose licence leaves it out is refused "
        "at start. None: such a licence is warned of.",
    )
    stand_in_step_s: float = Field(
        default=0.0, ge=0, description="Seconds the stand-in model spends on each step."
    )
    stand_in_faces: int = Field(
        default=2208,
        ge=24,
        le=5_000_000,
        description="About as many faces the stand-in's sphere has; 680,000 make an STL of 34 MB.",
    )
    stand_in_trouble: Literal["none", "hang", "fault"] = Field(
        default="none",
        description="What the stand-in does on a job of seed 13: nothing, it hangs, or its device breaks; "
        "to see how the service gets over it.",
    )
    speed: Speed = Field(
        default="faithful",
        description="How a job is sampled whose request says nothing of it. faithful: as the model was published. "
        "fast: by the two-step method, in a third of the calls; not for distilled (turbo) models.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?|cuda:\d+(,cuda:\d+)+)$",
        description="auto, cpu, cuda or cuda:1. auto: the first GPU, else the CPU. cuda:0,cuda:1: a worker for each.",
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto",
        description="Numbers the networks compute in. auto: float16 on a GPU, float32 on a CPU.",
    )
    require_gpu: bool = Field(default=False, description="Refuse to start without a GPU.")
    memory: Literal["auto", "full", "low", "minimal"] = Field(
        default="auto",
        description="What lies in the device's memory: full: all networks; low: they take turns; "
        "minimal: one layer at a time. auto: the first of these that fits.",
    )
    compile: Literal["auto", "0", "1"] = Field(
        default="auto",
        description="Compile the networks at start, kept in DATA_DIR/compiled. auto: on a GPU that holds them all.",
    )

    matting_model: MattingModel = Field(
        default="tiny", description="What removes backgrounds. none: pictures must bring an alpha channel."
    )
    matting_refine: Literal["grabcut", "none"] = Field(
        default="grabcut",
        description="How the embedded matting model's masks are refined. grabcut: a second look at the object, and the "
        "edge found by colour. none: its masks as they are.",
    )
    matting_threads: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Threads of the matting model, which runs on the CPU. 0: OMP_NUM_THREADS, else one per core.",
    )
    slicer: str = Field(
        default="prusa-slicer",
        description="PrusaSlicer's command, for the request field `slice`; where it is not installed that is refused.",
    )
    slicer_profiles: Path | None = Field(
        default=None,
        description="A folder of the slicer's profiles: printers/NAME.ini, filaments/NAME.ini, "
        "print_settings/NAME.ini. None: those that come with the package.",
    )
    slicer_timeout_s: Seconds = Field(default=300.0, description="Seconds that slicing one mesh may take.")
    slicer_max_memory_bytes: int = Field(
        default=4_000_000_000, ge=100_000_000, description="Address space that the slicer may take."
    )
    matting_home: Path = Field(
        default=Path("models/matting"), description="Where the published matting models lie."
    )

    cut_out_timeout_s: Seconds = Field(
        default=60,
        le=600,
        description="Seconds that POST /cut-outs waits for a worker and its cut-out, before it answers 503.",
    )
    image_max_bytes: int = Field(default=20_000_000, ge=1, description="Largest picture file taken.")
    image_max_pixels: int = Field(
        default=64_000_000, ge=1, description="Most pixels of a picture, checked before any is decoded."
    )
    mesh_max_bytes: int = Field(
        default=50_000_000,
        ge=1,
        description="Largest mesh file that POST /mesh-checks takes: 1,000,000 faces as binary STL.",
    )
    mesh_max_faces: int = Field(
        default=2_000_000,
        ge=12,
        le=10_000_000,
        description="Most faces of a mesh there, whatever its file's size.",
    )
    download_timeout_s: Seconds = Field(default=30, description="Seconds for one download, in all.")
    download_connect_timeout_s: Seconds = Field(
        default=5, description="Seconds to connect to a picture's server."
    )
    download_min_bytes_per_s: float = Field(default=1000, ge=0, description="Slower downloads are given up.")
    download_attempts: int = Field(
        default=3, ge=1, description="How often a download is tried when the failure may pass."
    )
    allowed_private_download_hosts: str = Field(
        default="", description="host:port,... that pictures may come from though they are not public."
    )
    allowed_private_webhook_hosts: str = Field(
        default="", description="host:port,... that webhooks may go to though they are not public."
    )
    rewrite_loopback_to: str | None = Field(
        default=None, description="In a container: the host that localhost in a caller's URL means."
    )

    webhook_format: WebhookFormat = Field(
        default="multipart", description="Form of a delivery where the request names none."
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        description="whsec_...: deliveries are signed with it. Two, separated by a space, while it rotates.",
    )
    webhook_max_inline_bytes: int = Field(
        default=95_000_000,
        ge=0,
        description="Larger files are not sent, only a link to them, where PUBLIC_URL is set.",
    )
    public_url: Annotated[str, Field(max_length=512)] | None = Field(
        default=None,
        description="Where others reach this service, as https://mesh.example.com; the links in webhooks begin so. "
        "None: no links.",
    )
    link_secret: SecretStr | None = Field(
        default=None,
        description="Signs the links. None: a key that is made once and kept in the database.",
    )
    link_ttl_s: Seconds = Field(default=604_800, description="Seconds for which the link in a webhook holds.")
    webhook_connect_timeout_s: Seconds = Field(default=5, description="Seconds to connect to a webhook.")
    webhook_timeout_s: Seconds = Field(
        default=30,
        description="Base timeout of one delivery attempt; WEBHOOK_TIMEOUT_S_PER_MB is added per megabyte.",
    )
    webhook_timeout_s_per_mb: float = Field(default=1, ge=0, description="Seconds more per megabyte sent.")
    webhook_delays_s: Annotated[tuple[float, ...], NoDecode] = Field(
        default=(0, 5, 30, 300, 1800, 7200, 18000, 36000, 50400),
        min_length=1,
        description="Seconds before each attempt of a delivery, with 20 % jitter; after the last it is a dead letter.",
    )
    webhook_slow_s: Seconds = Field(
        default=10,
        description="An attempt that takes longer, half of WEBHOOK_TIMEOUT_S at most, WEBHOOK_TIMEOUT_S_PER_MB added, "
        "marks its host as slow: that owner's attempts there then wait behind others, in places of their own.",
    )
    webhook_slow_memory_s: Seconds = Field(
        default=600,
        description="Seconds for which a host counts as slow, unless a quick attempt comes first.",
    )
    deliveries_in_flight: int = Field(
        default=64, ge=1, le=1000, description="Attempts at deliveries that one worker makes at once."
    )
    deliveries_per_owner: int = Field(
        default=16, ge=1, le=1000, description="Most of these places that one API key's deliveries hold."
    )
    deliveries_per_host: int = Field(
        default=4, ge=1, le=1000, description="Most of an owner's places that one host holds."
    )
    slow_deliveries_in_flight: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="Places of one worker for slow hosts, besides; an owner holds DELIVERIES_PER_OWNER / "
        "DELIVERIES_PER_HOST of them at most.",
    )
    webhook_max_retry_after_s: Seconds = Field(
        default=3600, description="The longest Retry-After of a receiver that is obeyed."
    )

    @field_validator("model_path")
    @classmethod
    def _find_embedded_model(cls, path: Path) -> Path:
        """The embedded model is there from whatever folder a command is run."""
        return find_shipped(str(path)) if path == EMBEDDED_MODEL and not path.exists() else path

    @field_validator("device")
    @classmethod
    def _check_devices(cls, value: str) -> str:
        devices = value.split(",")
        if len(set(devices)) < len(devices):
            raise ValueError("a device can't have two workers")
        return value

    @field_validator("models")
    @classmethod
    def _check_models(cls, value: str | None) -> str | None:
        names = [place.name for place in _places(value or "")]
        if len(set(names)) < len(names):
            raise ValueError("two models have the same name")
        return value

    @field_validator("territory")
    @classmethod
    def _usual_code(cls, value: str | None) -> str | None:
        return usual_territory(value)

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(_usual_database_url(value.get_secret_value()))

    @field_validator("webhook_delays_s", "compatible_routes", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("webhook_delays_s")
    @classmethod
    def _check_delays(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(delay_s < 0 for delay_s in value):
            raise ValueError("a delay can't be negative")
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be like https://mesh.example.com")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _check_secrets(self) -> Settings:
        for secret in self.webhook_secrets:
            _check_secret(secret)
        if self.webhook_format == "link" and self.public_url is None:
            raise ValueError("WEBHOOK_FORMAT link needs PUBLIC_URL")
        return self

    @property
    def is_development(self) -> bool:
        """True when callers' URLs may lead to this machine."""
        return self.profile == "development" or (self.profile == "auto" and _is_loopback(self.host))

    @property
    def devices(self) -> tuple[str, ...]:
        """One device per worker process."""
        return tuple(self.device.split(","))

    @property
    def reached_at(self) -> str:
        """The address that callers reach the service at."""
        return self.published_address or self.host

    @property
    def has_keys(self) -> bool:
        """True when callers need keys."""
        return self.api_keys is not None or self.api_keys_file is not None

    @property
    def is_published(self) -> bool:
        """True when others than this machine can reach the service."""
        return not _is_loopback(self.reached_at)

    @property
    def served_models(self) -> tuple[ModelPlace, ...]:
        """The shape models of a worker, the first one the default: those of MODELS, else MODEL_PATH's."""
        if self.models:
            return _places(self.models)
        return (ModelPlace(DEFAULT_MODEL, self.model_path, self.model_variant),)

    def place_of(self, model: str | None) -> ModelPlace:
        """The model of this name; the first where it is another process's, or none is named."""
        places = self.served_models
        return next((place for place in places if place.name == model), places[0])

    def of_model(self, place: ModelPlace) -> Settings:
        """These settings with `place` as the one shape model."""
        return self.model_copy(
            update={"model_path": place.path, "model_variant": place.variant, "models": None}
        )

    @property
    def is_stand_in(self) -> bool:
        """True when a sphere stands in for the shape model."""
        return self.model_variant == STAND_IN

    @cached_property
    def sqlite_path(self) -> Path | None:
        """The SQLite file, absolute; None on another database."""
        if self.database_url is None:
            return self.data_dir.absolute() / "jobs.sqlite"
        url = self.database_url.get_secret_value()
        return Path(url.removeprefix("sqlite:///")).absolute() if url.startswith("sqlite:") else None

    @property
    def shown_database_url(self) -> str:
        """The database of the jobs, without the password and all else that may be secret."""
        if self.sqlite_path is not None:
            return self.jobs_database_url
        url = urlsplit(self.jobs_database_url)
        place = url.netloc.rpartition("@")[2] or ",".join(parse_qs(url.query).get("host", []))
        return f"postgresql://{place}{url.path}"

    @property
    def data_places(self) -> tuple[Path, ...]:
        """What must stay where it is while a process runs: the folder of jobs' files, and the SQLite file."""
        return (self.data_dir,) if self.sqlite_path is None else (self.data_dir, Path(self.sqlite_path))

    @property
    def jobs_database_url(self) -> str:
        """The database of the jobs as a URL, default applied."""
        if self.sqlite_path is not None:
            return f"sqlite:///{self.sqlite_path}"
        assert self.database_url is not None
        return self.database_url.get_secret_value()

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that deliveries are signed with, none or more."""
        return tuple(self.webhook_secret.get_secret_value().split()) if self.webhook_secret else ()

    @property
    def secret_texts(self) -> tuple[str, ...]:
        """What must not stand in any log line: all secrets, of the database's address its password alone."""
        database = self.database_url.get_secret_value() if self.database_url else ""
        password = urlsplit(database).password or ""
        others = [
            word
            for name, value in self
            if isinstance(value, SecretStr) and name != "database_url"
            for word in value.get_secret_value().split()
        ]
        return tuple({word for word in (*others, password, unquote(password)) if word})


def _places(models: str) -> tuple[ModelPlace, ...]:
    """The models of a text name=path,...

    Raises:
        ValueError: a part is not of that form.
    """
    places = []
    for part in filter(None, (part.strip() for part in models.split(","))):
        found = _MODEL_PLACE.fullmatch(part)
        if found is None:
            raise ValueError(f"{part}: must be name=path or name=path#variant; names of a-z, 0-9, . and -")
        path, variant = found["path"], found["variant"]
        places.append(ModelPlace(found["name"], Path(path), STAND_IN if path == STAND_IN else variant))
    return tuple(places)


def _usual_database_url(url: str) -> str:
    """The URL in the one form that all parts of the service read; a connection that hangs is given up."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return url
    if scheme not in POSTGRES_SCHEMES:
        raise ValueError("must be sqlite:///path or postgresql://user:password@host:port/database")
    try:
        parts = urlsplit(f"postgresql://{rest}")
        is_complete = len(parts.path) > 1 and parts.port != 0
    except ValueError:
        is_complete = False
    if not is_complete:
        raise ValueError("must be postgresql://user:password@host:port/database, special characters as %40")
    if "connect_timeout" in parse_qs(parts.query):
        return parts.geturl()
    query = f"{parts.query}&" if parts.query else ""
    return parts._replace(query=f"{query}connect_timeout={DATABASE_CONNECT_TIMEOUT_S}").geturl()


def _check_secret(secret: str) -> None:
    key = secret.removeprefix("whsec_").rstrip("=")
    if not secret.startswith("whsec_"):
        raise ValueError("WEBHOOK_SECRET must start with whsec_")
    try:
        num_bytes = len(b64decode(key + "=" * (-len(key) % 4), validate=True))
    except ValueError:
        raise ValueError("WEBHOOK_SECRET must go on with base64 after whsec_") from None
    if num_bytes < MIN_SECRET_BYTES:
        raise ValueError(
            f"WEBHOOK_SECRET has {num_bytes} bytes, {MIN_SECRET_BYTES} are needed (Standard Webhooks): "
            "echo whsec_$(openssl rand -base64 32)"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def read_settings(**said: Any) -> Settings:
    """The settings of the environment, and what a command line says instead; None there says nothing.

    Raises:
        StartupError: a setting can't be used; the message names it.
    """
    try:
        return Settings(**{name: value for name, value in said.items() if value is not None})
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        lines = [f"{'_'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in found]
        raise StartupError("; ".join(lines)) from None
