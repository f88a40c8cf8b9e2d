"""What `forebay size` reads of the files of docs/performance: `make docs` writes it, a test compares."""

from typing import Any

import orjson

from pipeline.tools.load.disk import KAFKA_TOPICS
from pipeline.tools.load.size import MEASURED
from tests.docs.performance import PROCESSES, Document, read


def _from(document: Document) -> dict[str, Any]:
    machine = document["machine"]
    return {
        "command": document["command"],
        "machine": f"{machine['cores']} cores that also run the broker, {machine['memory_gib']:.0f} GiB",
        "load_before": machine["load_before"],
        "date": document["date"],
        "version": document["commit"],
    }


def written() -> bytes:
    """The file as it is to be; FileNotFoundError names the command that measures what is missing."""
    rates, flow, scale, disk = (_read(name) for name in ("rates", "flow", "scale", "disk"))
    full, flood = flow["runs"]["one a message"], flow["runs"]["every row a suspect"]
    document = {
        "rates": {
            **_from(rates),
            "sensors": rates["sensors"],
            "records_per_s": [step["rate"] for step in rates["steps"]],
            "cores": {name: [step["cores"][name] for step in rates["steps"]] for name in PROCESSES},
            "rss_mib": {name: max(step["rss_mib"][name] for step in rates["steps"]) for name in PROCESSES},
            "archive_bytes_a_row": rates["archive_bytes_a_row"],
            "kafka_bytes_a_record": {
                topic: [step["kafka_bytes_a_record"][topic] for step in rates["steps"]] for topic in KAFKA_TOPICS
            },
        },
        "full_batches": {
            **_from(flow),
            "sensors": full["sensors"],
            "records_per_s": full["records_per_s"],
            "cpu_us_a_record": {name: full["cpu_us_per_record"][name] for name in PROCESSES},
            "rss_mib": {name: full["memory_peak_mib"][name] for name in PROCESSES},
        },
        "sensors": {
            **_from(scale),
            "sensors": [run["sensors"] for run in scale["sensors"]],
            "cpu_us_a_record": {
                name: [run["cpu_us_per_record"][name] for run in scale["sensors"]] for name in PROCESSES
            },
            "rss_mib": {name: [run["memory_peak_mib"][name] for run in scale["sensors"]] for name in PROCESSES},
        },
        "flood": {
            **_from(flow),
            "sensors": flood["sensors"],
            "records_per_s": flood["records_per_s"],
            "cpu_us_a_record": {name: flood["cpu_us_per_record"][name] for name in PROCESSES},
            "rss_mib": {name: flood["memory_peak_mib"][name] for name in PROCESSES},
        },
        "disk": {**_from(disk), "calm": disk["runs"]["calm"], "flood": disk["runs"]["every row a suspect"]},
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _read(name: str) -> Document:
    document = read(name)
    if document is None:
        raise FileNotFoundError(f"docs/performance/{name}.json: not measured")
    return document


def write() -> bool:
    """Write the file; whether it has changed."""
    before = MEASURED.read_bytes() if MEASURED.exists() else b""
    after = written()
    MEASURED.write_bytes(after)
    return after != before
