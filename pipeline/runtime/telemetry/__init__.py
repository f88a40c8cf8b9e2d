from pipeline.runtime.telemetry.logs import configure, log
from pipeline.runtime.telemetry.telemetry import Span, Telemetry, start

__all__ = ["Span", "Telemetry", "configure", "log", "start"]
