"""What a system needs before its workers: Kafka and topics, each by the command a person would give, as a child."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from pipeline.errors import Failed, ForebayError
from pipeline.settings import inherited_environment
from pipeline.tools.processes import CLI, die_with_parent
from pipeline.tools.system import worker_logs


class TaskFailed(Failed):
    """A command that the system needs has failed; it leaves with that command's exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Task:
    """A command of ours at work: `forebay ARGUMENTS --json`.

    A child, because a Kafka client starts threads, and the supervisor forks.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._arguments = list(arguments)
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the command is at work
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, *CLI, *arguments, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._errors,
            env=inherited_environment(environment),
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    @property
    def running(self) -> bool:
        """Whether it is at work."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it, and what it was about to start."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def result(self) -> dict[str, Any]:
        """Its JSON document, once it has ended; TaskFailed carries what it said."""
        code = self._process.wait()
        with self._out as out, self._errors as errors:
            out.seek(0)
            errors.seek(0)
            printed, said = out.read(), errors.read().decode("utf-8", "replace")
        if code:
            what = worker_logs.last_error(said) or f"exit {code}"
            raise TaskFailed(f"`forebay {' '.join(self._arguments[:2])}`: {what}", abs(code) & 0xFF)
        document: dict[str, Any] = orjson.loads(printed.splitlines()[-1])
        return document


def wait_for(task: Task, keep_waiting: Callable[[], bool]) -> dict[str, Any] | None:
    """The task's result; None where waiting was ended, and the task with it. `keep_waiting` takes its time."""
    try:
        while task.running:
            if not keep_waiting():
                task.stop()
                return None
        return task.result()
    except ForebayError:
        raise
    except BaseException:
        task.stop()
        raise
