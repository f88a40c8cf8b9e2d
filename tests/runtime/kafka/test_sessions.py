"""Session timeouts: each stage's own, or the one that is set, with heartbeats often enough."""

from pipeline.runtime.faust.worker import build_app
from pipeline.runtime.kafka.sessions import HEARTBEATS, SESSION_TIMEOUT_S, heartbeat_s, session_timeout_s
from pipeline.settings import load_settings


def test_a_stage_has_its_own_session_unless_one_is_set() -> None:
    assert {stage: session_timeout_s(load_settings(), stage) for stage in SESSION_TIMEOUT_S} == SESSION_TIMEOUT_S
    assert {session_timeout_s(load_settings(session_timeout_s=6), stage) for stage in SESSION_TIMEOUT_S} == {6.0}


def test_several_heartbeats_fit_into_every_session() -> None:
    for session_s in (6.0, *SESSION_TIMEOUT_S.values()):
        assert heartbeat_s(session_s) * HEARTBEATS <= session_s


def test_faust_has_the_same_session() -> None:
    for settings in (load_settings(), load_settings(session_timeout_s=6)):
        conf = build_app("featurize", settings).conf
        session_s = session_timeout_s(settings, "featurize")
        assert (conf.broker_session_timeout, conf.broker_heartbeat_interval) == (session_s, heartbeat_s(session_s))
