"""A model's weights as safetensors: read with every bound checked before a byte is believed."""

import json

import numpy as np

from models.errors import RefusedModel
from models.rows import Floats

MAX_WEIGHTS_BYTES = 16 * 1024 * 1024
MAX_HEADER_BYTES = 32 * 1024

Shapes = dict[str, tuple[int, ...]]


def encode(weights: dict[str, Floats]) -> bytes:
    """Weights as a safetensors file; equal weights give equal bytes."""
    from safetensors.numpy import save  # scoring, which only reads, does without the package

    return save({name: np.ascontiguousarray(weights[name], dtype=np.float32) for name in sorted(weights)})


def decode(content: bytes, expected: Shapes, where: str) -> dict[str, Floats]:
    """The tensors in a safetensors file, exactly those of `expected`, float32, finite; RefusedModel otherwise."""
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
    weights: dict[str, Floats] = {}
    reached = 0
    for name in sorted(header, key=lambda key: _begin(header[key])):
        entry, shape = header[name], expected[name]
        size = 4 * int(np.prod(shape, dtype=np.int64))
        span = [reached, reached + size]
        if entry != {"dtype": "F32", "shape": list(shape), "data_offsets": span}:
            raise RefusedModel(f"{where}: {name}: got {str(entry)[:160]}, expected F32 {list(shape)} at bytes {span}")
        values = np.frombuffer(body, dtype="<f4", count=size // 4, offset=reached) if span[1] <= len(body) else None
        if values is None or not bool(np.isfinite(values).all()):
            raise RefusedModel(
                f"{where}: {name}: got values cut off or not finite, expected {size // 4} finite numbers"
            )
        weights[name] = values.reshape(shape)
        reached += size
    if reached != len(body):
        raise RefusedModel(f"{where}: got {len(body) - reached} bytes after the last tensor, expected none")
    return weights


def _begin(entry: object) -> int:
    """The start offset of a tensor, to read them in order; an invalid one sorts first and is refused there."""
    if isinstance(entry, dict):
        offsets = entry.get("data_offsets")
        if isinstance(offsets, list) and offsets and type(offsets[0]) is int:
            return offsets[0]
    return -1
