"""A model's weights as safetensors: read with every bound checked before a byte is believed."""

import json
from collections.abc import Mapping

import numpy as np

from models.errors import RefusedModel
from models.igan.arrays import Int8s
from models.rows import Floats

MAX_WEIGHTS_BYTES = 16 * 1024 * 1024
MAX_HEADER_BYTES = 32 * 1024
TABLE, SCALE = "lookup.table", "lookup.scale"

Shapes = dict[str, tuple[int, ...]]


def encode(weights: Mapping[str, Floats | Int8s]) -> bytes:
    """Weights as a safetensors file, float32 or int8; equal weights give equal bytes."""
    from safetensors.numpy import save  # scoring, which only reads, does without the package

    return save({name: np.ascontiguousarray(weights[name], dtype=_kind(weights[name])) for name in sorted(weights)})


def decode(content: bytes, expected: Shapes, where: str) -> dict[str, Floats | Int8s]:
    """The tensors in a safetensors file, exactly those of `expected`, finite; RefusedModel otherwise.

    All are float32, but for a look-up table that has scales: it is int8.
    """
    if len(content) < 8:
        raise RefusedModel(f"{where}: got {len(content)} bytes, expected a safetensors file")
    header_size = int.from_bytes(content[:8], "little")
    if header_size > min(MAX_HEADER_BYTES, len(content) - 8):
        raise RefusedModel(
            f"{where}: got a header of {header_size} bytes in a file of {len(content)}, "
            f"expected at most {MAX_HEADER_BYTES}; only safetensors files are read, never pickle"
        )
    try:
        header = json.loads(content[8 : 8 + header_size])
    except (ValueError, RecursionError) as error:
        raise RefusedModel(f"{where}: the safetensors header is no JSON ({error})") from error
    if not isinstance(header, dict) or set(header) != set(expected):
        got = sorted(set(header) ^ set(expected))[:5] if isinstance(header, dict) else type(header).__name__
        raise RefusedModel(f"{where}: tensors differ from what the manifest's network needs, first in {got}")
    body = content[8 + header_size :]
    weights: dict[str, Floats | Int8s] = {}
    reached = 0
    for name in sorted(header, key=lambda key: _begin(header[key])):
        entry, shape = header[name], expected[name]
        kind, dtype = ("I8", "<i1") if name == TABLE and SCALE in expected else ("F32", "<f4")
        count = int(np.prod(shape, dtype=np.int64))
        size = count * np.dtype(dtype).itemsize
        span = [reached, reached + size]
        if entry != {"dtype": kind, "shape": list(shape), "data_offsets": span}:
            raise RefusedModel(
                f"{where}: {name}: got {str(entry)[:160]}, expected {kind} {list(shape)} at bytes {span}"
            )
        values = np.frombuffer(body, dtype=dtype, count=count, offset=reached) if span[1] <= len(body) else None
        if values is None or not bool(np.isfinite(values).all()):
            raise RefusedModel(f"{where}: {name}: got values cut off or not finite, expected {count} finite numbers")
        weights[name] = values.reshape(shape)
        reached += size
    if reached != len(body):
        raise RefusedModel(f"{where}: got {len(body) - reached} bytes after the last tensor, expected none")
    return weights


def _kind(values: Floats | Int8s) -> type[np.float32] | type[np.int8]:
    return np.int8 if values.dtype == np.int8 else np.float32


def _begin(entry: object) -> int:
    """The start offset of a tensor, to read them in order; an invalid one sorts first and is refused there."""
    if isinstance(entry, dict):
        offsets = entry.get("data_offsets")
        if isinstance(offsets, list) and offsets and type(offsets[0]) is int:
            return offsets[0]
    return -1
