"""Where a model scores: on the CPU, or on a CUDA device. torch is loaded only to ask for one that may be there."""

import ctypes
import sys
from importlib.util import find_spec

from models.errors import RefusedModel

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def cuda_available() -> bool:
    """Whether torch finds a CUDA device; without a driver for one torch is not asked, and not loaded."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def resolved(device: str) -> str:
    """`cpu` or `cuda` for `auto`, `cpu` or `cuda`; RefusedModel for anything else, and for CUDA where there is none."""
    if device not in ("auto", "cpu", "cuda"):
        raise RefusedModel(f"device {device}: expected auto, cpu or cuda")
    if device == "cpu" or not cuda_available():
        if device == "cuda":
            raise RefusedModel("device cuda: this machine has no CUDA device torch can use; choose cpu or auto")
        return "cpu"
    return "cuda"
