"""The store of fits: one JSON file each, written as it finishes, so that a run can stop at any point and resume."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from models.errors import RefusedModel
from models.files import write_atomic

RUN = "run.json"
FITS = "fits"


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of fits."""

    folder: Path

    def path(self, key: str) -> Path:
        """The path of the fit of this key (`protocol/model/split`)."""
        return self.folder / FITS / f"{key}.json"

    def has(self, key: str) -> bool:
        """Whether this fit has finished before."""
        return self.path(key).is_file()

    def write(self, key: str, document: dict[str, Any]) -> None:
        """Keep a fit: whole or not at all."""
        written(self.path(key), document)

    def read(self) -> list[dict[str, Any]]:
        """All fits, by key; RefusedModel names a file that is none."""
        documents = []
        for path in sorted((self.folder / FITS).rglob("*.json")):
            try:
                document = orjson.loads(path.read_bytes())
            except (OSError, ValueError) as error:
                raise RefusedModel(f"{path}: got no fit ({error}); delete it and run again with --resume") from error
            if not isinstance(document, dict) or not {"protocol", "model"} <= set(document):
                raise RefusedModel(f"{path}: got no fit (no protocol or model); delete it and run again with --resume")
            documents.append(document)
        return documents

    def begin(self, run: dict[str, Any], resume: bool) -> None:
        """Take the folder for a run; RefusedModel where it holds another's fits, or the same run's without --resume.

        A run in pieces adds up: `expected`, the number of fits by model and task, is that of all pieces.
        """
        path = self.folder / RUN
        if path.is_file():
            try:
                before = orjson.loads(path.read_bytes())
            except ValueError:
                before = {}
            for name in ("protocol", "data"):
                if before.get(name) != run.get(name):
                    raise RefusedModel(
                        f"{self.folder}: got fits of {name} {before.get(name)}, expected {run.get(name)}; give "
                        "another --out"
                    )
            if not resume:
                raise RefusedModel(f"{self.folder}: got fits of an earlier run; give --resume, or another --out")
            run = {**run, "expected": {**before.get("expected", {}), **run.get("expected", {})}}
        written(path, run)


def written(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file so that a kill leaves the old one or the new one."""
    write_atomic(path, orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2) + b"\n")
