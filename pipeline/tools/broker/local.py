"""Start, stop and inspect the local broker; the demo, the tests and `forebay broker` all come here."""

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import Failed, Misconfigured
from pipeline.settings import cache_folder, kafka_home
from pipeline.tools.broker import configuration, kraft, process, state
from pipeline.tools.broker.answer import Cluster, ask
from pipeline.tools.broker.configuration import HOST
from pipeline.tools.broker.folder_lock import folder_lock, in_use
from pipeline.tools.broker.java import Distribution, distribution
from pipeline.tools.broker.ports import free_port, is_free
from pipeline.tools.broker.state import Running

Step = Callable[[str], None]

START_S = 90.0
STOP_S = 30.0


@dataclass(frozen=True, slots=True)
class Status:
    """What `broker status` says about a data folder."""

    running: bool
    answering: bool
    state: Running | None
    cluster: Cluster | None
    data_bytes: int


class PortTaken(Failed):
    """Another process took the port while the broker started."""


def start(data: Path, port: int = 0, step: Step = lambda _text: None) -> Running:
    """Start the broker on `data`, or return the one that runs there; two callers at once get the same one.

    Parameters
    ----------
    data
        The broker's folder, made on first use; a broker that was killed continues from it.
    port
        Where it listens on 127.0.0.1; 0: the port it had the last time, else a free one.
    step
        Notified of what is being done, in words.

    Raises
    ------
    Misconfigured
        The port is taken or another one is running, KAFKA_HOME is no Kafka, or there is no Java.
    KafkaUnreachable
        The jars cannot be fetched.
    Failed
        The broker ended or did not answer; the message ends with the last of its log.
    """
    data = data.absolute()
    _make(data)
    with folder_lock(data, wait_s=START_S + 60):
        before = state.read(data)
        if before is not None and process.is_ours(before.pid, before.run_id):
            if port not in (0, before.port):
                raise Misconfigured(
                    f"{data}: a broker already runs at {before.bootstrap}, expected port {port}; "
                    "stop it with `forebay broker down` first, or leave --port out"
                )
            _wait_until_answers(data, before, time.monotonic() + START_S)
            return before
        return _start(data, port, step)


def _start(data: Path, port: int, step: Step) -> Running:
    if port and not is_free(port):
        raise Misconfigured(
            f"port {port} on {HOST} is taken; use --port 0 for a free one, "
            f"or --bootstrap {HOST}:{port} if it is a Kafka you want to use"
        )
    kafka = distribution(
        kafka_home(), cache_folder(), lambda done, total: step(f"fetching Kafka: {done} of {total} jars")
    )
    cluster_id, last_port = kraft.cluster_id(data), kraft.last_port(data)
    last: Failed | None = None
    for _attempt in range(3):
        chosen = port or (last_port if last_port is not None and is_free(last_port) else free_port())
        running = Running(
            bootstrap=f"{HOST}:{chosen}",
            pid=0,
            port=chosen,
            controller_port=free_port(but=chosen),
            run_id=uuid.uuid4().hex,
            cluster_id=cluster_id or kraft.new_cluster_id(),
            kafka_version=kafka.kafka_version,
            source=kafka.source,
            started_us=time.time_ns() // 1000,
        )
        try:
            return _launch(data, running, kafka, step)
        except PortTaken as error:  # somebody was faster between our look and Kafka's
            last, last_port, cluster_id = error, None, running.cluster_id
    raise last or Failed(f"{data}: no free port was found")


def _launch(data: Path, running: Running, kafka: Distribution, step: Step) -> Running:
    with in_use(data) as descriptor:
        return _launch_alone(data, running, kafka, step, descriptor)


def _launch_alone(data: Path, running: Running, kafka: Distribution, step: Step, in_use_descriptor: int) -> Running:
    kraft.write_files(data, running.port, running.controller_port)
    if not kraft.is_formatted(data):
        step("formatting the data folder")
        kraft.format_folder(data, running.cluster_id, kafka)
    step("starting Kafka")
    pid = process.start(kraft.broker_command(data, running.run_id, kafka), data / "console.log", in_use_descriptor)
    running = replace(running, pid=pid)
    try:
        # Written before it answers: whoever finds this folder after we were killed must be able to stop it.
        state.write(data, running)
        _wait_until_answers(data, running, time.monotonic() + START_S)
    except BaseException:  # Ctrl-C too: nothing half-started stays behind
        process.stop(pid, running.run_id, grace_s=5.0)
        state.remove(data)
        raise
    return running


def _wait_until_answers(data: Path, running: Running, deadline: float) -> None:
    while True:
        if not is_free(running.port):
            cluster = ask(running.bootstrap, timeout_s=2.0)
            if cluster is not None and cluster.cluster_id == running.cluster_id:
                return
        if not process.is_ours(running.pid, running.run_id):
            log = kraft.log_tail(data)
            if "Address already in use" in log:
                raise PortTaken(f"port {running.port} on {HOST} was taken while Kafka started; try again")
            raise Failed(f"{data}: Kafka ended while it started; the last of {data / 'broker.log'}:\n{log}")
        if time.monotonic() >= deadline:
            raise Failed(
                f"{data}: Kafka runs (pid {running.pid}) but does not answer at {running.bootstrap} after "
                f"{START_S:.0f} s; the last of {data / 'broker.log'}:\n{kraft.log_tail(data)}"
            )
        time.sleep(0.05)


def stop(data: Path, grace_s: float = STOP_S) -> Running | None:
    """Stop the broker of `data` and wait for its end; None where none runs. A pid that is not its own is left alone."""
    data = data.absolute()
    if not data.is_dir():
        return None
    with folder_lock(data, wait_s=START_S + 60):
        recorded = state.read(data)
        alive = recorded is not None and process.is_ours(recorded.pid, recorded.run_id)
        if recorded is not None and alive:
            process.stop(recorded.pid, recorded.run_id, grace_s)
            if process.is_ours(recorded.pid, recorded.run_id):
                raise Failed(f"{data}: pid {recorded.pid} does not end, even killed; check it with `ps {recorded.pid}`")
        state.remove(data)
        return recorded if alive else None


def last_port(data: Path) -> int | None:
    """The port that the broker of `data` had the last time; None where it never ran."""
    return kraft.last_port(data)


def find(bootstrap: str) -> Path | None:
    """The folder of the broker of ours that runs at an address of this machine; None where none of ours does."""
    host, _, port = bootstrap.rpartition(":")
    if host not in (HOST, "localhost"):
        return None
    for folder in map(Path, process.values_of(configuration.FOLDER_OPTION)):
        running = state.read(folder)
        if running is not None and str(running.port) == port and process.is_ours(running.pid, running.run_id):
            return folder
    return None


def process_of(data: Path) -> Running | None:
    """The broker whose process runs on `data`; it is not asked whether it answers. None where none runs."""
    found = state.read(data.absolute())
    return found if found is not None and process.is_ours(found.pid, found.run_id) else None


def status(data: Path) -> Status:
    """Inspect the broker of `data`; starts and changes nothing."""
    data = data.absolute()
    recorded = state.read(data)
    running = recorded is not None and process.is_ours(recorded.pid, recorded.run_id)
    cluster = ask(recorded.bootstrap, timeout_s=3.0) if recorded is not None and running else None
    return Status(running, cluster is not None, recorded if running else None, cluster, _size_bytes(data))


def _size_bytes(folder: Path) -> int:
    # Blocks, not lengths: Kafka's index files are mostly holes. A running broker deletes files while we look.
    size = 0
    for path in folder.rglob("*") if folder.is_dir() else ():
        with suppress(FileNotFoundError):
            size += path.lstat().st_blocks * 512
    return size


def _make(data: Path) -> None:
    try:
        data.mkdir(parents=True, exist_ok=True)
        (data / "tmp").mkdir(exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"--data {data}: {error}; name a folder you can write") from error
