"""The PowerShell that we show, read by a parser: it says nothing that 5.1 and 7 don't both understand.

Where PowerShell is on the machine, tests/service/test_examples.py runs the script too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from ai_engine.api.request_schema import JobRequest

ROOT = Path(__file__).parents[3]
SCRIPT = (ROOT / "examples" / "generate.ps1").read_text()
SNIPPETS = re.findall(r"```powershell\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
SUBMITTING = [text for text in (SCRIPT, *SNIPPETS) if "/generate-3d" in text]

COMMANDS = {
    "ConvertTo-Json": {"Compress"},
    "Get-Date": set(),
    "Get-FileHash": {"LiteralPath", "Algorithm"},
    "Invoke-RestMethod": {"Method", "Uri", "Headers", "ContentType", "Body"},
    "Invoke-WebRequest": {"UseBasicParsing", "Uri", "Headers", "OutFile"},
    "Move-Item": {"LiteralPath", "Destination", "Force"},
    "Resolve-Path": {"LiteralPath"},
    "Start-Sleep": {"Seconds"},
    "Write-Host": set(),
}
"""What both versions have, each with the parameters that both take."""
AUTOMATIC = {"_", "true", "false", "null", "ErrorActionPreference", "ProgressPreference"}


def tree(text: str) -> Node:
    return Parser(Language(tree_sitter_powershell.language())).parse(text.encode()).root_node


def found(node: Node, *kinds: str) -> Iterator[Node]:
    """All nodes of these kinds, from the top down."""
    if node.type in kinds:
        yield node
    for child in node.children:
        yield from found(child, *kinds)


def text_of(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()


def variables(node: Node) -> set[str]:
    """Names of variables, as PowerShell compares them; what the environment gives is left out."""
    names = {
        re.sub(r"[${}]", "", text_of(variable)) for variable in found(node, "variable", "braced_variable")
    }
    return {name.lower() for name in names if not name.lower().startswith("env:")}


def test_the_parser_finds_what_is_wrong() -> None:
    assert tree("if ($a { }").has_error
    assert not tree("if ($a) { }").has_error


@pytest.mark.parametrize("text", [SCRIPT, *SNIPPETS])
def test_it_can_be_parsed(text: str) -> None:
    root = tree(text)

    assert not root.has_error, [text_of(node) for node in found(root, "ERROR")]


def test_the_script_has_no_letter_that_5_1_reads_otherwise() -> None:
    assert SCRIPT.isascii(), "5.1 takes a file without a mark for one of the system's code page"


@pytest.mark.parametrize("text", SUBMITTING)
def test_every_command_and_its_parameters_are_in_5_1_and_in_7(text: str) -> None:
    root = tree(text)
    own = {text_of(name) for name in found(root, "function_name")}

    for command in found(root, "command"):
        (name, *_) = (text_of(node) for node in found(command, "command_name"))
        elements = command.child_by_field_name("command_elements")
        parts = elements.children if elements else []
        given = {text_of(part)[1:] for part in parts if part.type == "command_parameter"}
        assert name in own or given <= COMMANDS[name], (name, given)


def test_every_variable_of_the_script_is_given_a_value() -> None:
    root = tree(SCRIPT)
    parameters = {name for node in found(root, "script_parameter") for name in variables(node)}
    assigned = {name for node in found(root, "left_assignment_expression") for name in variables(node)}
    looped = {name for node in found(root, "foreach_statement") for name in variables(node.children[2])}

    known = parameters | assigned | looped | {name.lower() for name in AUTOMATIC}
    assert variables(root) - known == set()


@pytest.mark.parametrize("text", SUBMITTING)
def test_it_sends_fields_that_the_service_knows_and_all_that_it_needs(text: str) -> None:
    (first, *_) = [
        node for node in found(tree(text), "hash_literal_expression") if "session_id" in text_of(node)
    ]
    sent = {text_of(node) for node in found(first, "key_expression")} | set(re.findall(r'"(\w+)":"', text))

    needed = {name for name, field in JobRequest.model_fields.items() if field.is_required()}
    assert needed <= sent <= set(JobRequest.model_fields)
