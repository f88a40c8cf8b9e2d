"""What happens in a week of a generated plant, besides attacks: people, faults, sensors."""

from dataclasses import replace

import numpy as np
import pytest

from loadtest.plants.generated.calendar import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Calendar, regular, scattered
from loadtest.plants.generated.chance import Chance
from loadtest.plants.generated.flows import KINDS, LOST_SIGHT, NO_EVENT, NO_STATE, TCP, UDP_UNANSWERED, UNANSWERED, Mask
from loadtest.plants.generated.plant import START_US, Plan, Plant, plant_of
from loadtest.plants.generated.scene import Event
from loadtest.plants.generated.site import WINDOWS_HOSTS
from loadtest.plants.generated.zeek import View

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def week() -> Plant:
    return plant_of(Plan(size="small", attacks=()))


def event_of(plant: Plant, name: str) -> tuple[int, Event]:
    """The first event of a name, and its number."""
    return next((number, event) for number, event in enumerate(plant.events) if event.name == name)


def hour_of_week(plant: Plant) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return (plant.traffic.flows.start_us - START_US) // HOUR_US


def by(plant: Plant, *names: str) -> Mask:
    return np.isin(plant.traffic.flows.src, [plant.site.address(name) for name in names])


def test_the_week_has_its_events(week: Plant) -> None:
    named = [event.name for event in week.events]
    assert sorted(named) == sorted(
        ["backup"] * 7 + ["vendor"] * 2 + ["weekly", "weekend", "maintenance", "new-device", "hardware-replaced"]
        + ["clock-drift", "idle-poller", "switch-outage"]
    )  # fmt: skip
    assert {event.kind for event in week.events} == {"fault", "benign"}
    assert all(week.plan.calendar.start_us <= event.start_us < event.end_us for event in week.events)
    assert all(event.end_us <= week.plan.calendar.end_us for event in week.events)


def test_nobody_works_at_the_weekend(week: Plant) -> None:
    flows, hour = week.traffic.flows, hour_of_week(week)
    engineering = flows.kind == KINDS.index("engineering")
    workday = (hour < 120) & (hour % 24 >= 8) & (hour % 24 < 17)
    announced = np.isin(flows.event, [event_of(week, "maintenance")[0]])
    assert engineering.sum() > 500 and (workday | announced)[engineering].all()
    operating = by(week, *WINDOWS_HOSTS) & (flows.kind == KINDS.index("operator"))
    days = np.bincount(hour[operating] // 24, minlength=7)
    assert days[5:].max() < 0.75 * days[:5].min()


def test_shifts_have_stations_of_their_own(week: Plant) -> None:
    hour = hour_of_week(week) % 24
    operator = week.traffic.flows.kind == KINDS.index("operator")
    for name, hours in (("op-1", range(6, 14)), ("op-4", range(14, 22)), ("op-5", (22, 23, 0, 1, 2, 3, 4, 5))):
        seen = hour[by(week, name) & operator]
        assert len(seen) > 300 and set(seen.tolist()) == set(hours)


def test_a_poller_falls_silent_and_comes_back(week: Plant) -> None:
    _, event = event_of(week, "idle-poller")
    panel, plc = (week.site.address(name) for name in event.hosts)
    flows = week.traffic.flows
    times = np.sort(flows.start_us[(flows.src == panel) & (flows.dst == plc)])
    gaps = np.diff(times)
    longest = int(gaps.argmax())
    assert times[longest] < event.start_us and times[longest + 1] >= event.end_us
    assert np.sort(gaps)[-3:-1].max() < 45 * MINUTE_US, "nothing else but the outage makes such a gap"


def test_a_cell_is_silent_while_its_switch_is_down(week: Plant) -> None:
    number, event = event_of(week, "switch-outage")
    flows, segment = week.traffic.flows, week.site.segments
    there = (segment(flows.src) == 2) | (segment(flows.dst) == 2)
    during = there & (flows.start_us >= event.start_us) & (flows.start_us < event.end_us)
    assert during.sum() > 20 and (flows.resp_pkts[during] == 0).all()
    assert (segment(flows.src)[during] != 2).all(), "from there nothing comes"
    assert set(flows.state[during].tolist()) <= {UNANSWERED, UDP_UNANSWERED, NO_STATE}
    assert (flows.event[during] == number).all()
    assert not during[week.traffic.operations.flow].any(), "nothing is asked"
    cut = there & (flows.start_us < event.start_us) & (flows.end_us >= event.start_us)
    assert cut.sum() > 3 and (flows.end_us[cut] <= event.start_us).all()
    assert (flows.state[cut & (flows.protocol == TCP)] == LOST_SIGHT).all()
    again = (flows.event == number) & (flows.start_us >= event.end_us)
    assert again.sum() > 6 and (flows.start_us[again] < event.end_us + 20 * SECOND_US).all()


def test_hardware_is_replaced(week: Plant) -> None:
    [replaced] = week.replaced
    view = week.view(0)
    flows = view.traffic.flows
    polls = (flows.dst == replaced.address) & (flows.kind == KINDS.index("poll")) & (flows.resp_pkts > 0)
    before = flows.start_us < replaced.from_us
    own = polls & (week.site.segments(flows.src) == 3)
    assert np.unique(view.resp_mac[own & before]).tolist() != np.unique(view.resp_mac[own & ~before]).tolist()
    assert len(np.unique(view.resp_mac[own & before])) == len(np.unique(view.resp_mac[own & ~before])) == 1


def test_a_new_device_is_polled_from_then_on(week: Plant) -> None:
    _, event = event_of(week, "new-device")
    new = week.site.address("cell-1-plc-new")
    flows = week.traffic.flows
    with_it = (flows.src == new) | (flows.dst == new)
    assert flows.start_us[with_it].min() >= event.start_us
    polls = with_it & (flows.kind == KINDS.index("poll"))
    assert polls.sum() > 2_000 and flows.start_us[polls].min() >= event.end_us
    assert flows.start_us[polls].max() > week.plan.calendar.end_us - HOUR_US


def test_a_vendor_and_updates_come_from_outside(week: Plant) -> None:
    flows = week.traffic.flows
    from_outside = week.site.segments(flows.src) < 0
    assert from_outside.sum() == 2 and set(flows.kind[from_outside].tolist()) == {KINDS.index("vendor")}
    updates = flows.kind == KINDS.index("updates")
    assert (week.site.segments(flows.dst[updates]) < 0).all() and len(np.unique(flows.dst[updates])) > 200


def test_a_clock_drifts_and_is_stepped_back(week: Plant) -> None:
    drift = week.drift
    assert drift is not None
    true_us = np.array([drift.start_us - 1, drift.start_us, drift.end_us - 1, drift.end_us])
    shown = drift.shown(true_us)
    assert shown[0] == true_us[0] and shown[3] == true_us[3] and shown[1] == true_us[1]
    assert 3_990_000 < shown[2] - true_us[2] <= 4_000_000
    plain, seen = replace(week, drift=None).view(0), week.view(0)
    moved = seen.traffic.flows.start_us - plain.traffic.flows.start_us
    assert moved.max() > 3_900_000 and (moved >= 0).all() and (seen.traffic.operations.at_us > 0).all()


def test_several_sensors_see_the_whole_between_them(week: Plant) -> None:
    flows = week.traffic.flows
    several = replace(week, plan=replace(week.plan, sensors=4), drift=None)
    assert several.sensors == ("core", "cell-1", "cell-2", "cell-3")
    views = [several.view(sensor) for sensor in range(4)]
    seen = np.zeros(len(flows.uid), np.bool_)
    for view in views:
        seen |= np.isin(flows.uid, view.traffic.flows.uid)
    assert seen.all() and sum(len(view.uid) for view in views) > len(flows.uid)
    uids = np.concatenate([view.uid for view in views])
    assert len(np.unique(uids)) == len(uids), "each sensor has names of its own"
    scada, plc = week.site.hosts["scada-1"], week.site.plcs(1)[0]
    core, cell = views[0], views[1]
    for view, end_mac, seen_mac in (
        (core, view_macs(core, scada.address, plc.address), (scada.mac, week.site.hosts["router"].mac)),
        (cell, view_macs(cell, scada.address, plc.address), (week.site.hosts["cell-1-router"].mac, plc.mac)),
    ):
        assert len(view.uid) and end_mac == {seen_mac}


def view_macs(view: View, src: int, dst: int) -> set[tuple[int, int]]:
    """Pairs of hardware addresses of the flows between two hosts."""
    flows = view.traffic.flows
    rows = (flows.src == src) & (flows.dst == dst)
    return set(zip(view.orig_mac[rows].tolist(), view.resp_mac[rows].tolist(), strict=True))


def test_a_week_has_as_many_flows_as_documented() -> None:
    plant = plant_of(Plan())
    assert 300_000 < len(plant.traffic.flows.uid) < 320_000
    assert (plant.traffic.flows.event == NO_EVENT).mean() > 0.95


def test_numbers_of_a_purpose_depend_on_nothing_else() -> None:
    first, again, other = Chance(7, "poll", "plc"), Chance(7, "poll", "plc"), Chance(7, "poll", "panel")
    whole = first.words(100)
    assert np.array_equal(np.concatenate([again.words(30), again.words(70)]), whole)
    assert not np.isin(other.words(100), whole).any()
    assert whole[:2].tolist() == [4700900524569627456, 8232005627748159100], "the same on every machine"
    near = Chance(1, "near").near(1_000, 20, 5_000)
    assert near.min() >= 800 and near.max() <= 1_200 and abs(near.mean() - 1_000) < 5


def test_times_lie_in_their_windows() -> None:
    calendar = Calendar(START_US, START_US + 7 * DAY_US)
    nights = calendar.daily((22, 30))
    assert len(nights) == 8 and nights[0].tolist() == [START_US, START_US + 6 * HOUR_US]
    for times in (scattered(Chance(1, "s"), nights, 3.0), regular(Chance(1, "r"), nights, MINUTE_US, SECOND_US)):
        inside = (times[:, None] >= nights[:, 0]) & (times[:, None] < nights[:, 1])
        assert len(times) > 150 and (inside.sum(axis=1) == 1).all()
    assert len(calendar.moments(13, (1, 3))) == 2 and len(scattered(Chance(1, "s"), nights, 0.0)) == 0
