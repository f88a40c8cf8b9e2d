"""Functions of industrial protocols: numbers by name, and whether they read, write or control (`functions.toml`)."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.scan.cells import Ints

Mask = npt.NDArray[np.bool_]

# Bits of an access.
READ, WRITE, CONTROL = 1, 2, 4
ACCESS = {"read": READ, "write": WRITE, "control": CONTROL}
_UNKNOWN = r"^unknown-([0-9]{1,3})$"  # what Zeek writes for numbers without a name


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of one protocol; `source` says where numbers and names come from."""

    proto: str
    source: str
    names: dict[str, int]
    access: dict[int, int]

    def codes_of(self, names: pa.StringArray) -> tuple[Ints, Mask]:
        """Numbers of names, and which are known; `unknown-N` is N."""
        indices = pc.index_in(names, pa.array(self.names, pa.string()))
        known: Mask = indices.is_valid().to_numpy(zero_copy_only=False)
        codes: Ints = np.array(list(self.names.values()), np.int64)[indices.fill_null(0).to_numpy()]
        numbered = ~known & pc.match_substring_regex(names, _UNKNOWN).fill_null(False).to_numpy(zero_copy_only=False)
        if numbered.any():
            digits = pc.replace_substring_regex(names.filter(pa.array(numbered)), _UNKNOWN, r"\1")
            codes[numbered] = digits.cast(pa.int64()).to_numpy()
        return codes, known | numbered

    def access_of(self, codes: Ints) -> npt.NDArray[np.int64]:
        """What each function does, as bits; 0 for those that the table does not name."""
        known = np.array(sorted(self.access), np.int64)
        bits = np.array([self.access[code] for code in sorted(self.access)], np.int64)
        index = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        return np.where(known[index] == codes, bits[index], 0)


@cache
def all_functions() -> dict[str, Functions]:
    """Every protocol's functions by its name in the table."""
    document = tomllib.loads(files("pipeline.ingest.formats").joinpath("functions.toml").read_text(encoding="utf-8"))
    return {
        proto: Functions(
            proto,
            table["source"],
            {entry["name"]: entry["code"] for entry in table["functions"]},
            {entry["code"]: sum(ACCESS[word] for word in entry.get("access", ())) for entry in table["functions"]},
        )
        for proto, table in document.items()
    }


def functions_of(proto: str) -> Functions:
    """The functions of one protocol; KeyError if there is none."""
    return all_functions()[proto]
