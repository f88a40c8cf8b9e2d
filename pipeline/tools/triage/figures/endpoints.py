"""Where the stages say how they do: at the addresses of a setting, or where `forebay up` runs them here."""

import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import urlsplit

from pipeline.errors import RefusedState
from pipeline.settings import Settings
from pipeline.tools.system import probes, record
from pipeline.tools.triage.figures.readings import Reading, readings_of

TIMEOUT_S = 3.0
MAX_ENDPOINTS = 256
AT_ONCE = 8
Resolve = Callable[[str, int], list[str]]
UNSET = (
    "no stage's metrics are known here: `forebay up` runs none in this folder; FOREBAY_STAGE_METRICS names their "
    "addresses"
)


class Endpoint(NamedTuple):
    """A worker's metrics: the name for people, and where to ask."""

    name: str
    host: str
    port: int
    path: str = "/metrics"

    @property
    def worker(self) -> str:
        """What distinguishes it from others."""
        return f"{self.host}:{self.port}{self.path}"


def endpoints(settings: Settings, resolve: Resolve | None = None) -> tuple[list[Endpoint], list[str]]:
    """Whom to ask, and why that is not everybody.

    Of a host name all addresses are asked: behind the name of a headless Service each worker has one.
    """
    if settings.stage_metrics_addresses:
        return _of_addresses(settings.stage_metrics_addresses, resolve or addresses)
    try:
        system = record.read(settings.run_folder)
    except RefusedState as error:
        return [], [str(error)]
    if system is None or (system.bootstrap, system.topic_prefix) != (settings.bootstrap, settings.topic_prefix):
        return [], [UNSET]
    host = probes.reachable_host(system.host)
    running = [each for each in system.stages if each.process is not None]
    silent = [
        f"{each.name} does not run: {each.last_error or each.state}" for each in system.stages if not each.process
    ]
    return [Endpoint(each.name, host, each.port) for each in running], silent


def addresses(host: str, port: int) -> list[str]:
    """The addresses of a host name; OSError where it has none."""
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})


def _of_addresses(urls: Iterable[str], resolve: Resolve) -> tuple[list[Endpoint], list[str]]:
    found: list[Endpoint] = []
    problems = []
    for url in urls:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        try:
            found += [Endpoint(url, address, port, parts.path or "/") for address in resolve(host, port)]
        except (OSError, UnicodeError) as error:  # the latter: no name that can be asked for
            problems.append(f"{url}: {getattr(error, 'strerror', None) or error}")
    if len(found) > MAX_ENDPOINTS:
        problems.append(f"{len(found) - MAX_ENDPOINTS} of {len(found)} addresses are not asked")
    return found[:MAX_ENDPOINTS], problems


def ask(asked: list[Endpoint]) -> tuple[dict[str, list[Reading]], list[str]]:
    """What each worker says, by its address, and who says nothing that can be read."""
    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(asked)))) as pool:
        answers = list(pool.map(lambda each: probes.get(each.host, each.port, each.path, TIMEOUT_S), asked))
    said: dict[str, list[Reading]] = {}
    problems = []
    for endpoint, answer in zip(asked, answers, strict=True):
        where = endpoint.name if endpoint.name.startswith("http") else f"{endpoint.name} at {endpoint.worker}"
        if answer is None:
            problems.append(f"{where}: no answer")
            continue
        try:
            if answer[0] != 200:
                raise ValueError(f"got status {answer[0]}, expected 200")
            said[endpoint.worker] = readings_of(answer[1])
        except (ValueError, OverflowError) as error:
            problems.append(f"{where}: {str(error)[:200]}")
    return said, problems
