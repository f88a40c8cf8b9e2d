from pipeline.telemetry.logs import configure, log
from pipeline.telemetry.telemetry import Span, Telemetry, start

__all__ = ["Span", "Telemetry", "configure", "log", "start"]
