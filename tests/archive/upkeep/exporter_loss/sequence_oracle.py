"""The rules of exporter_loss/sequences.py a record at a time, in plain Python, over everything at once."""

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

WRAP, REORDERED, MAX_AHEAD, RESTART_BELOW, FALL, BELIEVED = 2**32, 4096, 2**28, 64, 512, 3


class Missing(NamedTuple):
    packets: list[tuple[int, int, int, int]]  # first, last, count, until
    flows: list[tuple[int, int, int, int]]
    like: tuple[int, int]  # packets, flows
    resets: int
    stragglers: int


def signed(step: int) -> int:
    step %= WRAP
    return step - WRAP if step >= WRAP // 2 else step


def restarts(number: int, step: int) -> bool:
    return number < RESTART_BELOW and step <= -FALL


def missing(numbers: Sequence[int], at_us: Sequence[int]) -> Missing:
    runs: list[tuple[int, int, int]] = []  # number, records, time
    for number, some in groupby(zip(numbers, at_us, strict=True), key=lambda pair: pair[0]):
        times = [at for _, at in some]
        runs.append((number, len(times), min(times)))
    segments: list[list[tuple[int, int, int]]] = []
    for run in runs:
        step = signed(run[0] - segments[-1][-1][0]) if segments else 0
        if not segments or abs(step) >= REORDERED or restarts(run[0], step):
            segments.append([])
        segments[-1].append(run)
    believed: list[tuple[int, int, int]] = []
    stragglers = 0
    for index, segment in enumerate(segments):
        if len(segment) >= BELIEVED or (index == len(segments) - 1 and not believed):
            believed += segment
        elif index < len(segments) - 1:
            stragglers += len(segment)
    countings: list[dict[int, list[int]]] = []  # position -> records, time
    last = 0
    for number, records, at in believed:
        step = signed(number - last) if countings else 0
        if not countings or step <= -REORDERED or step > MAX_AHEAD or restarts(number, step):
            countings.append({})
            last = number
        else:
            last += step
        if countings[-1] and last < max(countings[-1]) - 2 * REORDERED:
            stragglers += 1
            continue
        packet = countings[-1].setdefault(last, [0, at])
        packet[0] += records
        packet[1] = min(packet[1], at)
    packets, flows, like_packets, like_flows = [], [], 0, 0
    for counting in countings:
        for (first, (records, _)), (second, (_, until)) in pairwise(sorted(counting.items())):
            step = second - first
            if step > 1:
                packets.append(((first + 1) % WRAP, (second - 1) % WRAP, step - 1, until))
            if step > records:
                flows.append(((first + records) % WRAP, (second - 1) % WRAP, step - records, until))
            like_packets += records > 1 and step == 1
            like_flows += records > 1 and step == records
    return Missing(packets, flows, (like_packets, like_flows), max(len(countings) - 1, 0), stragglers)
