"""Where the network runs: the device and the threads of this process."""

import torch

from pipeline.errors import Misconfigured


def choose_device(wanted: str) -> tuple[str, str]:
    """The device to score on and, in words, why; Misconfigured where `cuda` is asked for and cannot be used."""
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise Misconfigured(
            "device cuda: torch finds no CUDA device here; use --device cpu, or install a driver and torch with CUDA"
        )
    if wanted != "auto":
        return wanted, "as set"
    return (
        ("cuda", f"auto: found {torch.cuda.get_device_name(0)}") if available else ("cpu", "auto: no CUDA device found")
    )


def use_threads(count: int) -> None:
    """How many threads torch takes in this process; 0 lets torch choose."""
    if count:
        torch.set_num_threads(count)
