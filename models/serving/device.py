"""Where tensors live: the CPU, or a CUDA device."""

import torch

from models.errors import RefusedModel


def resolved(device: str) -> str:
    """`cpu` or `cuda` for `auto`, `cpu` or `cuda`; RefusedModel for anything else, and for CUDA where there is none."""
    if device not in ("auto", "cpu", "cuda"):
        raise RefusedModel(f"device {device}: expected auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise RefusedModel("device cuda: this machine has no CUDA device torch can use; choose cpu or auto")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
