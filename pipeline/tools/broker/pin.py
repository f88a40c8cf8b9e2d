"""Make `jars.lock` anew: `python -m pipeline.tools.broker.pin 4.3.1`. For people who change the Kafka version."""

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from jgo.maven import MavenContext

from pipeline.tools.broker.lock import Lock, LockedJar, render

# Kafka's own pom leaves the binding of its logging out; without one a broker that fails says nothing.
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl"


def resolve(kafka_version: str, folder: Path) -> Lock:
    """Resolve Kafka's runtime jars through Maven, download them to `folder` and hash them.

    The jars are what the pom of that version asks for; they are trusted once, here, and pinned from then on.
    """
    context = MavenContext(repo_cache=folder, timeout=60)
    direct, transitive = context.resolver.resolve(
        [context.create_dependency(f"org.apache.kafka:kafka_2.13:{kafka_version}")]
    )
    kafka: list[Any] = [*direct, *transitive]
    log4j = next(each.version for each in kafka if each.artifactId == "log4j-core")
    # On its own: jgo would let the binding's parent decide the version of every jar, Kafka's clients included.
    binding, _ = context.resolver.resolve([context.create_dependency(f"{LOGGING}:{log4j}")], transitive=False)
    return Lock(kafka_version, tuple(_hashed(each) for each in [*kafka, *binding]))


def _hashed(dependency: Any) -> LockedJar:
    content = Path(dependency.artifact.resolve()).read_bytes()
    return LockedJar(
        dependency.groupId,
        dependency.artifactId,
        dependency.version,
        hashlib.sha256(content).hexdigest(),
        len(content),
    )


def main(kafka_version: str) -> None:
    """Write the lock file beside this module."""
    with tempfile.TemporaryDirectory() as folder:
        lock = resolve(kafka_version, Path(folder))
    Path(__file__).with_name("jars.lock").write_text(render(lock), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
