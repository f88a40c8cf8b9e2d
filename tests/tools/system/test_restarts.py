import signal

import pytest

from pipeline import errors
from pipeline.tools.system.restarts import MAX_DELAY_S, NOT_RETRIED, REMEDIES, delay_s, describe_end, remedy_of


@pytest.mark.parametrize("code", [2, 64, 65, 66, 77, 78])
def test_what_stays_wrong_is_not_tried_again(code: int) -> None:
    assert delay_s(code, 1) is None
    assert code in REMEDIES


@pytest.mark.parametrize("code", [0, 1, 69, 75, 130, -signal.SIGKILL, -signal.SIGSEGV])
def test_what_may_pass_is_tried_again_ever_more_slowly(code: int) -> None:
    delays = [delay_s(code, ends) for ends in range(1, 40)]
    assert delays[0] == 0.5 and delays[-1] == MAX_DELAY_S
    assert delays == sorted(delays)  # type: ignore[type-var]


def test_every_exit_code_of_ours_is_retried_or_not_on_purpose() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ForebayError)]
    retried = {kind.exit_code for kind in kinds} - NOT_RETRIED
    # 1: something failed that may pass; 69 and 75 pass by themselves; 73 is of `forebay up` itself, no worker's.
    assert retried == {1, 69, 73, 75}


def test_an_end_is_described_with_what_to_do() -> None:
    assert describe_end(78) == "exit 78"
    assert describe_end(-9) == "ended by SIGKILL"
    assert describe_end(-250) == "ended by signal 250"
    assert "dmesg" in remedy_of(-9)
    assert "forebay down" in remedy_of(78)
    assert remedy_of(1)
