"""Fetch the locked jars into a cache; no byte is used before its SHA-256 was compared with the lock."""

import hashlib
import os
import random
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import Failed, KafkaUnreachable
from pipeline.tools.broker.folder_lock import folder_lock
from pipeline.tools.broker.lock import Lock, LockedJar

Progress = Callable[[int, int], None]

TRIES = 4
AT_ONCE = 4
NEEDED = "to run a local Kafka"
REMEDY = (
    "set KAFKA_HOME to an unpacked Apache Kafka 4, use a broker you have with --bootstrap HOST:PORT, "
    "or copy the cache folder from a machine that has it"
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where jars are fetched from, how patiently, and what is said where they cannot be.

    needed: what they are needed for, as in "to run a local Kafka". remedy: what to do instead.
    """

    needed: str
    remedy: str
    repositories: Mapping[str, str] | None = None
    pause_s: float = 0.5
    given_up: threading.Event = field(default_factory=threading.Event)


class TamperedJar(Failed):
    """A jar whose bytes are not those the lock file pins."""


def jars(
    lock: Lock,
    cache: Path,
    progress: Progress = lambda _done, _total: None,
    repositories: Mapping[str, str] | None = None,
    pause_s: float = 0.5,
) -> list[Path]:
    """The locked jars on disk, verified, in class path order; those not in the cache are fetched first.

    Parameters
    ----------
    cache
        Folder of ours; jars lie in `kafka-<version>` below it. Safe to share between processes.
    progress
        Called with (jars there, jars in all) while some are fetched.
    repositories
        Maven repositories by name, instead of jgo's own setting and default.
    pause_s
        How long after the first failed try of a jar the second one is made; doubled before each further one.

    Raises
    ------
    TamperedJar
        A cached or fetched jar is not what the lock file pins. It is not used and not put into the cache.
    KafkaUnreachable
        A jar cannot be fetched; the message says what was tried and what to do instead.
    """
    folder = cache / f"kafka-{lock.kafka_version}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(f"cache folder {folder}: {error}; set FOREBAY_CACHE to a folder you can write") from error
    return fetched(lock.jars, folder, Source(NEEDED, REMEDY, repositories, pause_s), progress)


def fetched(
    wanted: Sequence[LockedJar], folder: Path, source: Source, progress: Progress = lambda _done, _total: None
) -> list[Path]:
    """Locked jars in a folder that is there, whatever they are for; as `jars` has those of Kafka, with its errors."""
    with folder_lock(folder, wait_s=600):
        missing = [jar for jar in wanted if not _cached(jar, folder)]
        if missing:
            progress(len(wanted) - len(missing), len(wanted))
            _fetch_all(missing, folder, len(wanted), progress, source)
    return [folder / jar.file_name for jar in wanted]


def _cached(jar: LockedJar, folder: Path) -> bool:
    path = folder / jar.file_name
    if not path.exists():
        return False
    verify(path, jar, f"delete {path} and try again")
    return True


def verify(path: Path, jar: LockedJar, remedy: str) -> None:
    """TamperedJar unless the file's SHA-256 is the locked one."""
    with path.open("rb") as stream:
        got = hashlib.file_digest(stream, "sha256").hexdigest()
    if got != jar.sha256:
        raise TamperedJar(
            f"{jar.file_name}: got SHA-256 {got} ({path.stat().st_size} bytes), expected {jar.sha256} "
            f"({jar.size_bytes} bytes); it was not used: {remedy}"
        )


def _fetch_all(missing: list[LockedJar], folder: Path, total: int, progress: Progress, source: Source) -> None:
    done = total - len(missing)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
        pending = {pool.submit(_fetch, jar, folder, source) for jar in missing}
        try:
            while pending:
                finished, pending = wait(pending, return_when=FIRST_EXCEPTION, timeout=0.2)
                for each in finished:
                    each.result()
                done += len(finished)
                progress(done, total)
        finally:
            # After the first failure, or Ctrl-C, the rest would only take time.
            source.given_up.set()
            for each in pending:
                each.cancel()


def _fetch(jar: LockedJar, folder: Path, source: Source) -> None:
    last: Exception | None = None
    for attempt in range(TRIES):
        if attempt and source.given_up.wait(source.pause_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)):
            break
        # A staging folder for each attempt: jgo refuses to overwrite what an interrupted one left.
        with tempfile.TemporaryDirectory(prefix=".staging-", dir=folder) as staging:
            try:
                path = _download(jar, Path(staging), source.repositories)
            except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo's own are RuntimeErrors
                last = error
                continue
            if path.stat().st_size < jar.size_bytes:
                last = OSError(f"only {path.stat().st_size} of {jar.size_bytes} bytes came")
                continue
            verify(path, jar, "the repository or something on the way to it serves other bytes; " + source.remedy)
            path.chmod(0o644)
            path.replace(folder / jar.file_name)
            return
    raise KafkaUnreachable(
        f"{jar.file_name} cannot be fetched from Maven Central ({TRIES} tries, last: {_reason(last)}); "
        f"it is needed once {source.needed}: check the network, or {source.remedy}"
    )


def _download(jar: LockedJar, staging: Path, repositories: Mapping[str, str] | None) -> Path:
    # Imported late: jgo and requests take a third of a second that no start from the cache should pay.
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    # A mirror is configured where jgo looks for it: [repositories] in its own settings file.
    chosen = dict(repositories) if repositories is not None else (GlobalSettings.load().repositories or None)
    context = MavenContext(repo_cache=staging, remote_repos=chosen, timeout=20)
    return Path(context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve())


def _reason(error: Exception | None) -> str:
    if isinstance(error, RuntimeError):
        return "no repository has it"
    return type(error).__name__ if error is None or not str(error).startswith("only ") else str(error)


def class_path(paths: list[Path]) -> str:
    """A Java class path of these jars."""
    return os.pathsep.join(str(path.resolve()) for path in paths)
