import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pipeline.runtime.wire.traceparent import child_of, parse, render

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_header_is_read() -> None:
    context = parse(f"00-{TRACE}-{SPAN}-01")
    assert context is not None
    assert (context.trace_id, context.span_id) == (int(TRACE, 16), int(SPAN, 16))
    assert context.is_remote and context.trace_flags.sampled


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        b"",
        "garbage",
        f"01-{TRACE}-{SPAN}-01-and-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-0\n",
        f" 00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-zz",
        "00-" + "٤" * 32 + f"-{SPAN}-01",
        b"\xff\xfe" * 40,
        b"\x00" * 55,
        b"00-" + b"a" * 1_000_000,
        f"00-{TRACE}-{SPAN}-01".encode("utf-16"),
    ],
    ids=lambda header: repr(header)[:40],
)
def test_a_hostile_header_is_no_trace(header: bytes | str | None) -> None:
    assert parse(header) is None


@given(st.binary(max_size=200) | st.text(max_size=80))
def test_any_bytes_are_survived(header: bytes | str) -> None:
    parse(header)


contexts = st.builds(
    lambda trace, span, flags: SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(flags)),
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(0, 255),
)


@given(contexts)
def test_render_then_parse_is_the_same(context: SpanContext) -> None:
    header = render(context)
    assert parse(header) == context
    assert parse(header.encode()) == context


@given(contexts)
def test_a_child_is_in_its_parents_trace_and_sampled_as_it_is(parent: SpanContext) -> None:
    child = child_of(parent)
    assert child.is_valid and child.trace_id == parent.trace_id and child.span_id != parent.span_id
    assert child.trace_flags == parent.trace_flags & TraceFlags.SAMPLED


def test_without_a_parent_it_is_a_trace_of_its_own() -> None:
    one, other = child_of(None), child_of(None)
    assert one.is_valid and one.trace_id != other.trace_id and one.trace_flags == TraceFlags.SAMPLED


@given(contexts)
def test_the_propagation_api_reads_it_alike(context: SpanContext) -> None:
    from opentelemetry import trace

    carried = TraceContextTextMapPropagator().extract({"traceparent": render(context)})
    theirs = trace.get_current_span(carried).get_span_context()
    assert (theirs.trace_id, theirs.span_id) == (context.trace_id, context.span_id)
