"""What workers answer over HTTP: probes, and their metrics merged or summed up."""

import http.client
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

# A worker's endpoint has a thread of its own: it answers at once, or the machine is very busy.
TIMEOUT_S = 1.0
METRICS_TIMEOUT_S = 5.0
# A whole answer, however it comes.
BODY_S = 10.0
PART_BYTES = 65_536
# Many times what a worker with a thousand sensors says.
MAX_BYTES = 16_777_216
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)")
_HAS_STAGE = re.compile(r'[{,]stage="')
# What a family's samples may append to its name.
_SUFFIXES = ("_total", "_created", "_bucket", "_count", "_sum")


def get(host: str, port: int, path: str, timeout_s: float = TIMEOUT_S) -> tuple[int, str] | None:
    """Status and text; None where nobody answers in time."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, _body(answer).decode("utf-8", "replace")
    except (OSError, UnicodeError, http.client.HTTPException):
        return None
    finally:
        with suppress(OSError):
            connection.close()


def _body(answer: http.client.HTTPResponse) -> bytes:
    """A body as far as it is read; TimeoutError where it comes too slowly: each byte may be in time, and all not."""
    until, parts, size = time.monotonic() + BODY_S, list[bytes](), 0
    while size < MAX_BYTES and (part := answer.read1(min(PART_BYTES, MAX_BYTES - size))):
        parts.append(part)
        size += len(part)
        if time.monotonic() > until:
            raise TimeoutError
    return b"".join(parts)


def reachable_host(host: str) -> str:
    """Where to ask a worker that listens on `host`: on all addresses means also on this one."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - asked, not listened on


def is_ready(host: str, port: int, path: str) -> bool:
    """Whether a worker says that it is ready."""
    answer = get(host, port, path)
    return answer is not None and answer[0] == 200


def hangs(host: str, port: int) -> bool:
    """Whether a worker says that its loop does not turn any more. Who does not answer is not said to hang."""
    answer = get(host, port, "/livez")
    return answer is not None and answer[0] == 503


def sums(text: str, names: Iterable[str]) -> dict[str, float]:
    """The sum of each metric's samples over all labels; a metric that is not there is left out."""
    wanted = set(names)
    found: dict[str, float] = {}
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if sample is not None and sample[1] in wanted:
            found[sample[1]] = found.get(sample[1], 0.0) + float(sample[3])
    return found


def sums_by(text: str, name: str, label: str) -> dict[str, float]:
    """The sums of a metric's samples by the value of a label of theirs, which has no quotes in it."""
    found: dict[str, float] = {}
    wanted = re.compile(rf'\b{label}="([^"]*)"')
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        value = wanted.search(sample[2] or "") if sample is not None and sample[1] == name else None
        if sample is not None and value is not None:
            found[value[1]] = found.get(value[1], 0.0) + float(sample[3])
    return found


def merge(texts: Mapping[str, str]) -> str:
    """The metrics of several workers as one text: each family once, every sample with its stage.

    texts : what each worker's `/metrics` says, by its name. Two workers have families of the same name, which a scraper
        accepts only once; where a sample does not say its stage, it gets the worker's name.
    """
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for worker, text in texts.items():
        family = ""
        for line in text.splitlines():
            if line.startswith("# "):
                family = line.split(" ", 3)[2]
                head = heads.setdefault(family, [])
                if line.split(" ", 2)[1] not in {each.split(" ", 2)[1] for each in head}:
                    head.append(line)
            elif (sample := _SAMPLE.match(line)) is not None:
                name = family if _belongs(sample[1], family) else sample[1]
                samples.setdefault(name, []).append(_with_stage(sample, worker))
    lines: list[str] = []
    for family in dict.fromkeys((*heads, *samples)):
        if samples.get(family):
            lines += heads.get(family, []) + samples[family]
    return "".join(f"{line}\n" for line in lines)


def _belongs(name: str, family: str) -> bool:
    return name == family or any(name == family + suffix for suffix in _SUFFIXES)


def _with_stage(sample: re.Match[str], worker: str) -> str:
    name, labels, value = sample[1], sample[2] or "", sample[3]
    if _HAS_STAGE.search(labels):
        return f"{name}{labels} {value}"
    inner = labels[1:-1].rstrip(",")
    stage = f'stage="{worker}"'
    return f"{name}{{{','.join(filter(None, (inner, stage)))}}} {value}"
