"""A registry that is no folder of this machine: what it has to offer, and a model in it.

Whoever loads models from elsewhere hands such a storage in (pipeline/runtime/storage has one for buckets); models know
no more of it than this.
"""

from dataclasses import dataclass
from typing import Protocol

from models.errors import RefusedModel

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"


class ModelStorage(Protocol):
    """Objects by name, with `/` between folders. FileNotFoundError where there is none of a name."""

    uri: str

    def folders(self, below: str) -> list[str]:
        """Names of the folders directly in a folder ("": in all of it)."""

    def has(self, name: str) -> bool:
        """Whether an object is there."""

    def size(self, name: str) -> int:
        """Bytes of an object."""

    def read(self, name: str) -> bytes:
        """A whole object."""

    def replace(self, name: str, data: bytes) -> None:
        """Write an object, whole and durable when this returns, replacing any object of that name."""

    def url(self, name: str) -> str:
        """An object's address, for people."""


@dataclass(frozen=True)
class StoredModel:
    """Where a model lies in such a registry."""

    storage: ModelStorage
    id: str

    def __str__(self) -> str:
        return self.storage.url(self.id)

    @property
    def exists(self) -> bool:
        """Whether it is there: its manifest is written last."""
        return self.storage.has(f"{self.id}/{MANIFEST}")

    def read(self, file: str, most: int) -> bytes:
        """A file's bytes; RefusedModel where it is none, or longer than `most`."""
        name = f"{self.id}/{file}"
        try:
            size = self.storage.size(name)
            if size > most:
                raise RefusedModel(f"{self}/{file}: got {size} bytes, expected at most {most}")
            return self.storage.read(name)
        except FileNotFoundError:
            raise RefusedModel(f"{self}/{file}: no such file; expected one of the model's files there") from None

    def write(self, file: str, data: bytes) -> None:
        """Write a file."""
        self.storage.replace(f"{self.id}/{file}", data)
