"""Whether alerts can go where outputs say: files that can be read or written, receivers that take a connection."""

import socket
import time
from pathlib import Path
from typing import NamedTuple

from pipeline.tools.doctor.certificate_expiry import certificate_expiry
from pipeline.tools.doctor.disks import existing
from pipeline.tools.doctor.findings import Finding
from schemas.outputs import FileOutput, OutputEntry, address_of, destination_of

CONNECT_S = 3.0
FILES = ("ca_file", "certificate_file", "key_file", "secret_file", "token_file", "password_file")
WITHOUT_CONNECTION = "udp"


class _Problem(NamedTuple):
    verdict: str
    found: str
    expected: str
    remedy: str


def alert_outputs(outputs: tuple[OutputEntry, ...], now_s: float) -> list[Finding]:
    """A row for each output, and one for each certificate of an output that is due. Nothing is sent."""
    rows = []
    for output in outputs:
        check, where = f"output {output.name}", destination_of(output)
        problem = _files(output) or (_file(output) if isinstance(output, FileOutput) else _receiver(where))
        found = _how(where, output)
        rows.append(Finding(check, "ok", found) if problem is None else _row(check, where, problem))
        named = {"ssl.certificate.location": output.certificate_file, "ssl.ca.location": output.ca_file}
        given = {name: path for name, path in named.items() if path and Path(path).is_file()}
        due = [each for each in certificate_expiry(given, now_s) if each.verdict != "ok"]
        remedy = f"renew the file that output {output.name} names"
        rows += [Finding(f"{check}, {each.check}", each.verdict, each.found, remedy, each.expected) for each in due]
    return rows


def _row(check: str, where: str, problem: _Problem) -> Finding:
    return Finding(check, problem.verdict, f"{where}: {problem.found}", problem.remedy, problem.expected)


def _how(where: str, output: OutputEntry) -> str:
    sent = "pages" if output.send == "pages" else "all alerts"
    if where.startswith(f"{WITHOUT_CONNECTION}:"):
        return f"{where}, {sent}; whether anybody receives them cannot be seen with UDP"
    return f"{where}, {sent}"


def _files(output: OutputEntry) -> _Problem | None:
    """The first file that an output names and that cannot be read."""
    for name in FILES:
        path = getattr(output, name, None)
        if path is None:
            continue
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            remedy = f"correct {name}, or the file's rights"
            return _Problem("fail", f"{name} {path}: {error.strerror}", "a file that can be read", remedy)
    return None


def _file(output: FileOutput) -> _Problem | None:
    path = Path(output.file)
    there = existing(path)
    try:
        if path.exists():
            with path.open("ab"):
                return None
        if there.is_dir() and _may_write(there):
            return None
        found = f"{there} cannot be written" if there.is_dir() else f"{there} is no folder"
    except OSError as error:
        found = error.strerror or str(error)
    return _Problem("fail", found, "a file that can be written", f"correct the path, or the rights of {there}")


def _may_write(folder: Path) -> bool:
    probe = folder / f".forebay-doctor-{time.time_ns()}"
    try:
        probe.touch()
    except OSError:
        return False
    probe.unlink()
    return True


def _receiver(where: str) -> _Problem | None:
    scheme, host, port = address_of(where)
    try:
        if scheme == WITHOUT_CONNECTION:
            socket.getaddrinfo(host, port)
        else:
            socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        found = error.strerror or str(error) or "no answer"
        remedy = "start the receiver, or correct its address; alerts stay in Kafka meanwhile"
        return _Problem("warn", found, f"an answer within {CONNECT_S:.0f} s", remedy)
    return None
