import subprocess
import sys

import pytest

from pipeline.tools.cli.main import NOUNS
from tests.docs.tables import every_command


def forebay(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.tools.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_names_every_noun_without_importing_one() -> None:
    done = forebay("--help")
    assert done.returncode == 0
    for noun in NOUNS:
        assert noun in done.stdout


@pytest.mark.parametrize("arguments", [["flwo"], ["config", "sho"], ["config", "show", "--nope"]])
def test_a_wrong_word_is_usage(arguments: list[str]) -> None:
    done = forebay(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Error" in done.stderr


def test_version() -> None:
    assert forebay("--version").stdout.startswith("forebay ")


def test_no_parameter_of_a_command_hides_a_module() -> None:
    options = [(words, option) for words, command in every_command() for option in command.params]
    assert sum("--json" in option.opts for _, option in options) > 30
    assert not [words for words, option in options if option.name == "json"]
