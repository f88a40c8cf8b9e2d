"""The smallest stateful stage: every output names the hash of all inputs before it, so that nothing can be lost,
doubled or reordered unseen.

A process: `python -m tests.integration.chain_stage` with the settings in the environment.
"""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.runtime.faust.stage import Incoming, Outgoing, Stage
from pipeline.runtime.faust.worker import run
from pipeline.runtime.telemetry import configure, start
from pipeline.settings import Settings, load_settings


@dataclass(frozen=True)
class Chain:
    seq: int
    digest: bytes


def step(state: Chain, value: bytes) -> Chain:
    return Chain(state.seq + 1, hashlib.sha256(state.digest + value).digest())


def line(state: Chain) -> bytes:
    return b"%d %s" % (state.seq - 1, state.digest.hex().encode())


class ChainRoom(Stage[Chain]):
    name = "chain"

    def __init__(self, settings: Settings) -> None:
        self.source = settings.topics.flows
        self.pointers = settings.topics.featurize_state
        self._out = settings.topics.features

    def restore(self, partition: int, snapshot: bytes | None, _parts: Mapping[str, bytes]) -> Chain:
        if snapshot is None:
            return Chain(0, b"")
        return Chain(int.from_bytes(snapshot[:8], "big"), snapshot[8:])

    def snapshot(self, state: Chain) -> bytes:
        return state.seq.to_bytes(8, "big") + state.digest

    def parts(self, _state: Chain) -> Mapping[str, object]:
        return {}

    def part(self, part: object) -> bytes:
        raise AssertionError(part)

    def seq(self, state: Chain) -> int:
        return state.seq

    def reached_us(self, state: Chain) -> int:
        return state.seq

    def advance(self, state: Chain, message: Incoming) -> tuple[Chain, Sequence[Outgoing]]:
        if message.value == b"poison":
            raise ValueError("poison")
        after = step(state, message.value)
        return after, [Outgoing(self._out, message.key, line(after), {"worker": b"x"})]


if __name__ == "__main__":
    settings = load_settings()
    configure(settings.log_level)
    telemetry = start("chain", settings)
    try:
        run(ChainRoom(settings), settings, telemetry)
    except ValueError:
        sys.exit(1)
