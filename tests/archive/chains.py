"""A partition's whole chain of manifests, as tests look at it."""

from dataclasses import dataclass

from pipeline.archive.manifest import NO_MANIFEST, Link, Manifest, collect, read_links
from pipeline.runtime.storage.location import StorageLike, open_storage


@dataclass(frozen=True, slots=True)
class Chain:
    """A partition's manifests, checked, and the hash of the last one."""

    manifests: tuple[Manifest, ...]
    head: str


def read_chain(archive: StorageLike, partition: int) -> Chain:
    """A partition's chain, manifest by manifest; empty where nothing was written yet."""
    links: list[Link] = []
    collect(read_links(open_storage(archive), partition), links)
    return Chain(tuple(manifest for manifest, _ in links), links[-1][1] if links else NO_MANIFEST)
