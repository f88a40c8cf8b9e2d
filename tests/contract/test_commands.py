"""Every noun of the command line is there, says what it is for, and its help comes at once."""

import subprocess
import sys

import pytest
from typer._click.core import Command
from typer.main import get_command
from typer.testing import CliRunner

from pipeline.tools.cli.main import NOUNS, app, module_of
from tests.contract.tree import ROOT
from tests.patience import PATIENCE_S

HEAVY = ("torch", "faust", "numba", "duckdb", "matplotlib", "pyarrow", "pyiceberg", "models")


def commands(noun: str) -> list[tuple[list[str], Command]]:
    """The noun's command and all its verbs: (the words typed after `forebay`, the command)."""
    result: list[tuple[list[str], Command]] = []
    queue: list[tuple[list[str], Command]] = [([noun], get_command(module_of(noun).app))]
    while queue:
        words, command = queue.pop()
        result.append((words, command))
        for name, verb in getattr(command, "commands", {}).items():
            queue.append(([*words, name], verb))
    return result


@pytest.mark.parametrize("noun", NOUNS)
def test_every_command_has_help(noun: str) -> None:
    assert NOUNS[noun].strip()
    every_command = commands(noun)
    assert every_command
    for words, command in every_command:
        assert (command.help or "").strip(), f"forebay {' '.join(words)} says nothing about itself"


@pytest.mark.parametrize("noun", NOUNS)
def test_help_answers(noun: str) -> None:
    for words, _ in commands(noun):
        result = CliRunner().invoke(app, [*words, "--help"])
        assert result.exit_code == 0, (words, result.output)


def test_an_unknown_noun_is_a_usage_error() -> None:
    result = CliRunner().invoke(app, ["turbine"])
    assert result.exit_code == 2


def test_no_command_waits_for_libraries_to_load() -> None:
    program = (
        "import sys; from pipeline.tools.cli.main import NOUNS, module_of\n"
        "for noun in NOUNS: module_of(noun)\n"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]", f"imported for a help page: {run.stdout}"
