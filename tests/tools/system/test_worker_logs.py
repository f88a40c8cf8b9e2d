import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.tools.system import worker_logs


def test_a_log_is_appended_to_and_bounded_while_its_writer_holds_it_open(tmp_path: Path) -> None:
    log = tmp_path / "score.log"
    writer = worker_logs.open_to_append(log)
    written = b""
    for number in range(60):
        line = f"line {number:03}\n".encode() * 10
        os.write(writer, line)
        written += line
        worker_logs.rotate(log, max_bytes=500)
    os.close(writer)
    parts = [worker_logs.older(log, number) for number in (3, 2, 1)]
    assert sorted(tmp_path.iterdir()) == sorted([log, *parts])
    assert written.endswith(b"".join(part.read_bytes() for part in (*parts, log)))
    assert all(part.stat().st_size <= 600 for part in (*parts, log))


def test_a_log_below_the_bound_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "score.log"
    log.write_bytes(b"x" * 100)
    assert not worker_logs.rotate(log, max_bytes=100)
    assert not worker_logs.rotate(tmp_path / "none.log")


def test_the_tail_starts_where_the_worker_did_and_survives_rotation(tmp_path: Path) -> None:
    log = tmp_path / "score.log"
    log.write_text("error: of the last time\n")
    start = worker_logs.size_of(log)
    assert worker_logs.last_error(worker_logs.tail(log, start)) == ""
    with log.open("a") as file:
        file.write("error: FOREBAY_MODEL: got igan-x, expected another\n")
    assert worker_logs.last_error(worker_logs.tail(log, start)) == "FOREBAY_MODEL: got igan-x, expected another"
    log.write_text("error: it was cut\n")
    assert worker_logs.last_error(worker_logs.tail(log, start)) == "it was cut"
    assert worker_logs.tail(tmp_path / "none.log") == ""


def test_errors_are_known_in_all_three_forms() -> None:
    json_line = '{"event": "stopped", "error": "disk full", "level": "error"}'
    assert worker_logs.last_error(f"{json_line}\nnothing of note\n") == "stopped disk full"
    assert worker_logs.last_error('{"event": "fine", "level": "info"}\n{not json\n') == ""
    traceback = "Traceback (most recent call last):\n  File x\npipeline.errors.SequenceGap: got seq 3\nValueError: no\n"
    assert worker_logs.last_error(traceback) == "ValueError: no"
    assert worker_logs.last_error("warning: nothing: at all\n") == ""


@given(st.text(max_size=300))
def test_nothing_in_a_log_raises_or_reaches_a_terminal(text: str) -> None:
    assert worker_logs.last_error(f"error: \x1b[31m{text}").isprintable()
    worker_logs.last_error(text)
