"""Where a command's jobs run: in this process with the settings of the environment, or at a service (`--server`)."""

from __future__ import annotations

import argparse
import os

from ai_engine.cli.endings import UsageError
from ai_engine.engine.engine import Engine
from ai_engine.settings import read_settings

KEY_VARIABLE = "AI_ENGINE_KEY"
MCP_EXAMPLES = """examples:
  ai-engine mcp                                                    meshes are made in this process
  ai-engine mcp --server https://mesh.example.com --key aie_...    at a service; files stay on this machine

For a client that is configured by JSON:
  {"mcpServers": {"ai-engine": {"command": "ai-engine", "args": ["mcp"]}}}"""


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that `key_of` and `engine_of` read."""
    parser.add_argument("--server", metavar="URL", help="run the jobs at this service")
    parser.add_argument("--key", metavar="KEY", help=f"API key at the service ({KEY_VARIABLE})")


def add_mcp(parser: argparse.ArgumentParser) -> None:
    """The flags of `mcp`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = MCP_EXAMPLES
    add_server_flags(parser)


def key_of(options: argparse.Namespace) -> str | None:
    """The API key at the service that is named; None where none is.

    Raises:
        UsageError: a key is given on the command line, and no service.
    """
    if options.server is not None:
        return options.key or os.environ.get(KEY_VARIABLE) or None
    if options.key is not None:
        raise UsageError("--key is that of a service: give --server too")
    return None


def engine_of(options: argparse.Namespace) -> Engine:
    """What runs the jobs, with the settings of the environment.

    Raises:
        UsageError: the flags make no sense.
        StartupError: a setting can't be used.
    """
    key = key_of(options)
    try:
        return Engine(options.server, key=key, settings=None if options.server else read_settings())
    except ValueError as error:
        raise UsageError(str(error)) from error
