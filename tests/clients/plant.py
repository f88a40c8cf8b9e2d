"""Intake and ingest on a real Kafka, with the sources of docs/connect as they stand there.

Of an example only what must differ from test to test is replaced, by `example`: the broker's address, ports, paths,
topics and the site; every text that is to be replaced must be in it.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.runtime.wire.batches import decode
from pipeline.settings import Settings
from tests.integration.ingest_stage import read, value
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/connect"
BROKER = "127.0.0.1:9092"
SITE = "my-plant"


def needs(program: str) -> pytest.MarkDecorator:
    """Skip where a client is not installed."""
    return pytest.mark.skipif(
        shutil.which(program, path=search_path()) is None,
        reason=f"not proven: that records of {program} become flows ({program} is not installed)",
    )


def search_path() -> str:
    """Where programs are looked for: daemons lie in folders that only root searches."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"])


def example(name: str, **replaced: str) -> str:
    """An example of docs/connect with some of its texts replaced; underscores in keywords' names are no matter."""
    return substituted((EXAMPLES / name).read_text(encoding="utf-8"), replaced)


def substituted(text: str, replaced: dict[str, str]) -> str:
    """The text with each key replaced by its value; a key that is not in it is an error."""
    for old, new in replaced.items():
        assert old in text, f"{old!r} is not in the example:\n{text}"
        text = text.replace(old, new)
    return text


def free_port() -> int:
    """A UDP port of this machine that nobody uses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def sources_of(tool: str, prefix: str, folder: Path) -> list[dict[str, Any]]:
    """The sources on a tool's page: topics with a prefix, files in a folder; the site has the tool's name behind it."""
    text = example(f"{tool}/sources.yaml", **{SITE: f"{SITE}-{tool}"})
    sources: list[dict[str, Any]] = yaml.safe_load(text)["sources"]
    return [
        {**source, "file": str(folder / Path(source["file"]).name)}
        if "file" in source
        else {**source, "topic": prefix + source["topic"]}
        for source in sources
    ]


@contextmanager
def client(*command: str, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A client as a process; it and what it has started are killed at the end."""
    environment = {**os.environ, "PATH": search_path(), "TZ": "UTC"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True, cwd=log.parent
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_listening(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a collector has its UDP port."""
    deadline = time.monotonic() + PATIENCE_S
    wanted = f":{port:04X} "
    while not any(wanted in Path(f"/proc/net/{table}").read_text() for table in ("udp", "udp6")):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.05)


class Plant:
    """What the running intake and ingest have made."""

    def __init__(self, settings: Settings, prefix: str, folder: Path) -> None:
        self.settings = settings
        self.prefix = prefix
        self.folder = folder

    def flows(self, tool: str, count: int, log: Path) -> list[dict[str, Any]]:
        """The flows of a tool's site, once there are `count`, in the order of their start; no record was rejected."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            rows = self._rows(self.settings.topics.flows, "flow", tool)
            rejects = self._rows(self.settings.topics.rejects, "reject", tool)
            assert not rejects, rejects[:3]
            if len(rows) >= count:
                return sorted(rows, key=lambda row: (row["start_ts_us"], row["src_port"] or 0))
            assert time.monotonic() < deadline, f"{len(rows)} of {count} flows: {log.read_text(errors='replace')}"
            time.sleep(0.2)

    def _rows(self, topic: str, schema: str, tool: str) -> list[dict[str, Any]]:
        batches = [decode(value(message), schema)[0] for message in read(self.settings, topic)]
        return [row for batch in batches for row in batch.to_pylist() if row["site"] == f"{SITE}-{tool}"]

    def check(self, topic: str) -> dict[str, Any]:
        """What `forebay source check` says of a topic."""
        command = ["source", "check", "--topic", self.prefix + topic, "--bootstrap", self.settings.bootstrap, "--json"]
        run = subprocess.run(
            [sys.executable, "-m", "pipeline.tools.cli", *command], capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert run.returncode == 0, run.stderr
        document: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
        return document
