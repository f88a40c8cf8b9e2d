"""A `forebay` command in this process: its exit code and what it printed, without a second's import of libraries.

For tests of what commands do. That the command starts, ends and is interrupted as a process, other tests show.
"""

import io
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

import pytest

from pipeline.tools.cli.main import main


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str


class _Captured(io.TextIOWrapper):
    """What is written to it, text and bytes, can be read also after it was closed."""

    def __init__(self) -> None:
        self.content = io.BytesIO()
        super().__init__(self.content, encoding="utf-8", errors="backslashreplace", write_through=True)

    def text(self) -> str:
        self.flush()
        return self.content.getvalue().decode()


def forebay(*words: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> Ended:
    """Run the command with these words; with `environment`, in place of this process's."""
    out, err, code = _Captured(), _Captured(), 0
    typed = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(err):
        patched.setattr(sys, "argv", ["forebay", *words])
        patched.setattr(sys, "stdin", typed)
        if environment is not None:
            for name in [each for each in os.environ if each not in environment]:
                patched.delenv(name)
            for name, value in environment.items():
                patched.setenv(name, value)
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Ended(code, out.text(), err.text())
