import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.services import EPHEMERAL, INDUSTRIAL_PORTS, is_answer, is_ephemeral, is_industrial

PORT = st.one_of(st.integers(-1, 65_535), st.sampled_from([-1, 0, 502, 32_767, 32_768, 50_020, 65_535]))


def ephemeral(port: int) -> bool:
    return port >= EPHEMERAL and port not in INDUSTRIAL_PORTS


@given(ports=st.lists(st.tuples(PORT, PORT), min_size=1, max_size=20))
def test_ports_say_what_they_say_one_by_one(ports: list[tuple[int, int]]) -> None:
    src, dst = np.array(ports, np.int64).T
    assert is_ephemeral(src).tolist() == [ephemeral(port) for port, _ in ports]
    assert is_industrial(dst).tolist() == [port in INDUSTRIAL_PORTS for _, port in ports]
    assert is_answer(src, dst).tolist() == [ephemeral(b) and a >= 0 and not ephemeral(a) for a, b in ports]


@pytest.mark.parametrize(
    ("src_port", "dst_port", "answer"),
    [
        (40_000, 502, False),
        (502, 40_000, True),
        (502, 1025, False),
        (50_020, 40_000, True),
        (40_000, 50_020, False),
        (40_000, 50_000, False),
        (-1, 40_000, False),
        (502, -1, False),
    ],
)
def test_an_answer_goes_to_a_clients_port_from_a_services(src_port: int, dst_port: int, answer: bool) -> None:
    assert is_answer(np.array([src_port]), np.array([dst_port])).tolist() == [answer]
