"""The front door: `python main.py generate | finish | check | serve | api | worker | demo | doctor | ...`.

Each command imports only what it needs.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ai_engine.cli.supervisor import Child, stop_on_signal, supervise, terminate_self, when_orphaned
from ai_engine.errors import StartupError
from ai_engine.published_weights import add_choices
from ai_engine.settings import Settings, read_settings

logger = logging.getLogger("main")
INTERRUPTED = 130
"""Exit status, as a shell reports a program that Ctrl-C ended."""
EXAMPLES = {
    "serve": "MODEL_PATH=triposg {} serve --port 8000",
    "api": "DATABASE_URL=postgresql://user:password@db/jobs {} api --host 0.0.0.0",
    "worker": "DATABASE_URL=postgresql://user:password@db/jobs {} worker --device cuda:1",
    "demo": "{} demo --image chair.png --out demo",
    "doctor": "{} doctor",
    "fetch-weights": "{} fetch-weights --variant triposg",
    "new-key": "{} new-key shop",
    "webhook-test": "{} webhook-test http://localhost:9999/webhook --format link",
}
"""Those of the other commands stand beside their flags."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit status."""
    try:
        options = _parser(sys.argv[1:] if arguments is None else arguments).parse_args(arguments)
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except StartupError as error:
        print(f"can't start: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ai-engine" if Path(sys.argv[0]).stem == "ai-engine" else "main.py",
        description="A picture in, a printable mesh at your webhook.",
        epilog="Settings: see docs/settings.md.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_mesh_commands(commands, next(iter(arguments), None))
    _add_serve_and_api(commands)
    worker_command = commands.add_parser("worker", help="a worker alone: works on jobs")
    worker_command.add_argument("--device", help="device to compute on, or several (DEVICE)")
    _may_be_supervised(worker_command)
    worker_command.set_defaults(run=worker)
    demo_command = commands.add_parser("demo", help="one picture to a mesh, everything on this machine")
    demo_command.add_argument("--image", help="path or URL of a picture of yours")
    demo_command.add_argument("--out", type=Path, default=Path("demo"), help="folder for what comes out")
    demo_command.set_defaults(run=demo)
    commands.add_parser("doctor", help="what is installed, reachable and usable here").set_defaults(
        run=doctor
    )
    weights_command = commands.add_parser("fetch-weights", help="the published weights, into ./models")
    add_choices(weights_command)
    weights_command.set_defaults(run=fetch_weights)
    key_command = commands.add_parser("new-key", help="an API key for a caller, and how to configure it")
    key_command.add_argument("name", metavar="NAME", help="whose it is; their jobs are theirs alone")
    key_command.set_defaults(run=new_key)
    test_command = commands.add_parser("webhook-test", help="a test delivery to your webhook, in plain words")
    test_command.add_argument("url", metavar="URL", help="where it goes")
    test_command.add_argument(
        "--format", choices=("multipart", "binary", "link"), help="its form (WEBHOOK_FORMAT)"
    )
    test_command.set_defaults(run=webhook_test)
    for name, example in EXAMPLES.items():
        command = parser.prog if parser.prog == "ai-engine" else "python main.py"
        commands.choices[name].epilog = "example: " + example.format(command)
    return parser


def _add_serve_and_api(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, run, about in (
        ("serve", serve, "the API and a worker for each device under one supervisor"),
        ("api", api, "the API alone: takes jobs, loads no model"),
    ):
        command = commands.add_parser(name, help=about)
        command.add_argument("--host", help="address to listen on (HOST)")
        command.add_argument("--port", type=int, help="port to listen on (PORT)")
        command.set_defaults(run=run)
        if run is api:
            _may_be_supervised(command)
        else:
            command.add_argument(
                "--accept-licence",
                action="store_true",
                help="agree to the licence of weights that are fetched",
            )


def _add_mesh_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], wished: str | None
) -> None:
    """The commands that make and look at meshes; their flags come from the schema, which is imported for them alone."""
    abouts = {
        "generate": "pictures to meshes: without a service, or at one (--server)",
        "finish": "a mesh file finished once more: height, faces, format; no device",
        "check": "what a slicer will find in a mesh file",
        "mcp": "tools for an assistant, over standard input and output (Model Context Protocol)",
    }
    for name, about in abouts.items():
        command = commands.add_parser(name, help=about)
        if name == wished == "generate":
            from ai_engine.cli.generate import add_generate, run_generate

            add_generate(command)
            command.set_defaults(run=run_generate)
        elif name == wished == "mcp":
            from ai_engine.cli.engines import add_mcp

            add_mcp(command)
            command.set_defaults(run=mcp)
        elif name == wished:
            from ai_engine.cli import mesh_commands

            add, run = {
                "finish": (mesh_commands.add_finish, mesh_commands.run_finish),
                "check": (mesh_commands.add_check, mesh_commands.run_check),
            }[name]
            add(command)
            command.set_defaults(run=run)


def mcp(options: argparse.Namespace) -> int:
    """The tools for an assistant, until it closes standard input."""
    from ai_engine.assistants.tools import serve_stdio
    from ai_engine.cli.endings import exit_at_signals
    from ai_engine.cli.engines import engine_of

    with engine_of(options) as engine:
        exit_at_signals(engine.close)
        serve_stdio(engine)
    return 0


def serve(options: argparse.Namespace) -> int:
    """The API and a worker for each device, kept running until SIGTERM or Ctrl-C."""
    from ai_engine.cli.doctor import print_problems
    from ai_engine.web.api_keys import check_access
    from ai_engine.weights.first_use import bring_weights

    settings = bring_weights(_settings(options), accept_licence=options.accept_licence)
    print_problems(settings)
    check_access(settings)
    api = _child("api", "api", "--host", settings.host, "--port", str(settings.port))
    api.stays_to_the_end = True
    return _supervise([api, *_workers(settings)], settings, "serve")


def _workers(settings: Settings) -> list[Child]:
    """One per device: a fault of one card takes no other's process down."""
    if len(settings.devices) == 1:
        return [_child("worker", "worker", "--device", settings.device)]
    return [_child(f"worker {device}", "worker", "--device", device) for device in settings.devices]


def _child(name: str, command: str, *arguments: str) -> Child:
    return Child(name, [sys.executable, str(Path(__file__).resolve()), command, "--supervised", *arguments])


def _supervise(children: Sequence[Child], settings: Settings, name: str) -> int:
    from ai_engine.logs import set_up_logging

    set_up_logging(settings.log_format, settings.log_level, name, settings.secret_texts)
    return supervise(children, stop_on_signal(), drain_s=settings.drain_s)


def api(options: argparse.Namespace) -> int:
    """The HTTP API."""
    from ai_engine.web.connections import ConnectionLimits
    from ai_engine.web.server import open_port, run_server

    settings = _settings(options)
    # Before the rest is imported: callers wait a moment, and are not turned away.
    with open_port(settings.host, settings.port) as port:
        from ai_engine.api.app import create_app
        from ai_engine.logs import set_up_logging

        set_up_logging(settings.log_format, settings.log_level, "api", settings.secret_texts)
        app = create_app(settings)
        if settings.mcp:
            from ai_engine.assistants.over_http import add_mcp

            add_mcp(app)
        if settings.compatible_routes:
            from ai_engine.compatible.endpoints import add_compatible

            add_compatible(app, settings.compatible_routes)
        if options.supervised:
            when_orphaned(terminate_self, on_notice=app.state.service.drain)
        limits = ConnectionLimits(settings.max_connections, settings.max_connections_per_address)
        run_server(app, port, request_timeout_s=settings.request_timeout_s, limits=limits)
    return 0


def worker(options: argparse.Namespace) -> int:
    """A worker, until SIGTERM or Ctrl-C; then it lets its jobs finish for a while. One each for several devices."""
    from ai_engine.logs import set_up_logging
    from ai_engine.worker.process import run_worker

    settings = _settings(options)
    if len(settings.devices) > 1:
        return _supervise(_workers(settings), settings, "workers")
    set_up_logging(settings.log_format, settings.log_level, "worker", settings.secret_texts)
    stop = stop_on_signal()
    if options.supervised:
        when_orphaned(stop.set)
    try:
        run_worker(settings, stop)
    except StartupError as error:
        logger.critical("the worker can't start: %s", error)
        os._exit(error.exit_status)
    except Exception:
        # Not by the usual way out: a thread that waits for the end of the supervisor would be in it.
        logger.exception("the worker broke")
        os._exit(1)
    # Threads of stages that did not finish in time would keep the process; their jobs are safe.
    sys.stderr.flush()
    os._exit(0)


def demo(options: argparse.Namespace) -> int:
    """One picture to a mesh at a webhook, everything on this machine."""
    from ai_engine.demo.demo import run_demo

    return run_demo(options.image, options.out)


def doctor(options: argparse.Namespace) -> int:
    """What is installed, reachable and usable here."""
    from ai_engine.cli.doctor import run_doctor

    return run_doctor(_settings(options))


def fetch_weights(options: argparse.Namespace) -> int:
    """The published weights, licence first."""
    from ai_engine.weights.fetch_weights import run

    options.territory = options.territory or _settings(options).territory
    return run(options)


def new_key(options: argparse.Namespace) -> int:
    """A new API key and the line of API_KEYS that lets it in. Nothing is stored."""
    from ai_engine.web import api_keys as keys

    key = keys.new_key()
    try:
        line = keys.setting_entry(options.name, key)
    except ValueError as error:
        print(f"can't make a key: {error}", file=sys.stderr)
        return 1
    print(f"the key, shown this once:  {key}")
    print(f"the service's setting:     API_KEYS={line}")
    print("More keys: comma after comma in API_KEYS, or a line each in the file that API_KEYS_FILE names.")
    return 0


def webhook_test(options: argparse.Namespace) -> int:
    """One test delivery to a URL, and what came back."""
    from ai_engine.cli.webhook_test import run_webhook_test

    settings = _settings(options)
    return run_webhook_test(settings, options.url, options.format or settings.webhook_format)


def _may_be_supervised(command: argparse.ArgumentParser) -> None:
    command.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)


def _settings(options: argparse.Namespace) -> Settings:
    """The settings of the environment, and what the command line says instead; raises StartupError."""
    return read_settings(**{name: getattr(options, name, None) for name in ("host", "port", "device")})


if __name__ == "__main__":
    sys.exit(main())
