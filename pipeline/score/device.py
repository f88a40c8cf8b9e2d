"""Where the model runs, and in words why."""

from models.serving.device import cuda_available
from pipeline.errors import Misconfigured


def choose_device(wanted: str) -> tuple[str, str]:
    """The device to score on and, in words, why; Misconfigured where `cuda` is asked for and cannot be used."""
    if wanted == "cpu":
        return wanted, "as set"
    available = cuda_available()
    if wanted == "cuda":
        if not available:
            raise Misconfigured(
                "device cuda: torch finds no CUDA device here; use --device cpu, or install a driver and "
                "torch with CUDA"
            )
        return wanted, "as set"
    return ("cuda", "auto: found a CUDA device") if available else ("cpu", "auto: no CUDA device found")
