import pytest

from pipeline.contracts.service_names import INDUSTRIAL, read_service_names, service_of, service_words
from pipeline.contracts.services import INDUSTRIAL_PORTS
from pipeline.errors import Misconfigured


def test_services_are_named_by_protocol_and_port() -> None:
    assert service_words(6, 102) == "S7 (tcp/102)"
    assert service_words(17, 5355) == "LLMNR (udp/5355)"
    assert service_words(17, 102) == "udp/102"
    assert service_of(None, 102) is None and service_of(6, None) is None
    syslog, shell = service_of(17, 514), service_of(6, 514)
    assert syslog and shell and (syslog.name, shell.kind) == ("syslog", "remote")


def test_every_port_of_an_industrial_protocol_is_called_so() -> None:
    for port in INDUSTRIAL_PORTS:
        services = [service for proto in (6, 17) if (service := service_of(proto, port)) is not None]
        assert services and all(service.kind == INDUSTRIAL for service in services), port


def test_the_first_entry_of_a_port_counts() -> None:
    names = read_service_names('[[service]]\nname = "Ours"\ntcp = [80]\n[[service]]\nname = "HTTP"\ntcp = [80]')
    assert names[6, 80].name == "Ours"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "no TOML"),
        ('[[service]]\nname = "A"\ntcp = [70000]', "70000"),
        ('[[service]]\nname = "A"\ntcp = ["80"]', "'80'"),
        ('[[service]]\nname = "A"\nkind = "odd"', "odd"),
        ('[[service]]\nname = "A"\nsctp = [1]', "sctp"),
        ("[[service]]\ntcp = [1]", "expected a name"),
    ],
)
def test_a_wrong_table_is_named(text: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        read_service_names(text)
