import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.tools.cli.main import NOUNS
from tests.commands import forebay
from tests.contract.tree import ROOT
from tests.docs.tables import every_command


@pytest.mark.slow
def test_help_names_every_noun_without_importing_one() -> None:
    done = forebay("--help")
    assert done.code == 0
    for noun in NOUNS:
        assert noun in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["flwo"], ["config", "sho"], ["config", "show", "--nope"]])
def test_a_wrong_word_is_usage(arguments: list[str]) -> None:
    done = forebay(*arguments)
    assert done.code == 2
    assert done.stdout == ""
    assert "Error" in done.stderr


def test_version() -> None:
    assert forebay("--version").stdout.startswith("forebay ")


def test_no_parameter_of_a_command_hides_a_module() -> None:
    options = [(words, option) for words, command in every_command() for option in command.params]
    assert sum("--json" in option.opts for _, option in options) > 30
    assert not [words for words, option in options if option.name == "json"]


@pytest.mark.slow
def test_a_command_of_the_laboratory_says_so_where_there_is_none(tmp_path: Path) -> None:
    """As in the images, which leave models/lab out."""
    assert "models/lab" in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    program = "import sys\nsys.modules['models.lab'] = None\nfrom pipeline.tools.cli.main import main\nmain()"
    command = [sys.executable, "-c", program, "model", "report", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "the laboratory: it is in no image" in done.stderr
