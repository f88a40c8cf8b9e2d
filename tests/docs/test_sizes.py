"""What `forebay size` reads is what the files of docs/performance say."""

from pipeline.tools.load.size import MEASURED
from tests.docs import sizes


def test_the_file_is_up_to_date() -> None:
    assert MEASURED.read_bytes() == sizes.written(), "run `make docs`"
