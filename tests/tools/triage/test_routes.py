"""What the API answers: the list and its filters, one incident, changes as they come, and errors in their form."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.tools.assets.known_devices import known_devices
from pipeline.tools.assets.label import Label
from pipeline.tools.triage.app import application
from pipeline.tools.triage.live import changes_after, last_position
from pipeline.tools.triage.page import Page
from pipeline.tools.triage.plant import Plant
from pipeline.tools.triage.sessions import LocalUser
from tests.tools.triage.pages import TestClient, alert, client_of, store_of

API = "/api/v1"
ATTACK = [{"technique": {"uid": "T0846", "name": "Remote System Discovery"}}]
HOUR_US = 3_600_000_000


def some_alerts() -> list[Any]:
    """Seven incidents."""
    return [
        alert(1, "left", ("10.0.0.1", "10.0.0.2"), site="north", severity_id=4, disposition="page", attacks=ATTACK),
        alert(2, "left", ("10.0.0.3", "10.0.0.2"), site="north", first_us=HOUR_US, activity_id=2),
        alert(3, "top", ("10.0.0.4", "10.0.0.5"), site="south", first_us=2 * HOUR_US, message="Wrote 14 Registers"),
        alert(4, "top", ("10.0.0.4", "10.0.0.6"), site="south", first_us=3 * HOUR_US, severity_id=5),
        *(alert(at, "top", ("10.0.1.4", f"10.0.1.{at}"), site="west", first_us=at * HOUR_US) for at in (5, 6, 7)),
    ]


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return client_of(store_of(tmp_path, some_alerts()))


def numbers(answer: Any) -> list[int]:
    """The incidents of a list, by the numbers of their uids."""
    return [int(each["uid"], 16) for each in answer["incidents"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [7, 6, 5, 4, 3, 2, 1]),
        ("sort=last_us", [1, 2, 3, 4, 5, 6, 7]),
        ("sort=-severity", [4, 1, 7, 6, 5, 3, 2]),
        ("site=north", [2, 1]),
        ("sensor=top&site=south", [4, 3]),
        ("severity=high,critical", [4, 1]),
        ("state=open", [2]),
        ("page=yes", [1]),
        ("page=no&site=north", [2]),
        ("technique=T0846", [1]),
        ("asset=10.0.0.2", [2, 1]),
        ("asset=10.0.0.2&asset=10.0.0.9", []),
        ("q=14+registers", [3]),
        ("q=%25", []),
        (f"since_us={6 * HOUR_US}", [7, 6]),
        (f"until_us={HOUR_US}", [2, 1]),
        ("settled=yes", []),
        ("suppressed=no&limit=2", [7, 6]),
    ],
)
def test_the_list_is_filtered_and_sorted(client: TestClient, query: str, expected: list[int]) -> None:
    answer = client.get(f"{API}/incidents?{query}").json()
    assert numbers(answer) == expected
    assert answer["total"] == (7 if "limit" in query else len(expected))


def test_a_search_finds_devices_by_their_names(tmp_path: Path) -> None:
    elsewhere = alert(9, "left", ("10.0.0.2", "10.9.9.9"), site="mill", message="another plant's")
    page = Page(store_of(tmp_path, [*some_alerts(), elsewhere]), sessions=LocalUser())
    page.plant = Named()
    browser = TestClient(application(page), base_url="http://127.0.0.1")

    def found(q: str) -> list[int]:
        return numbers(browser.get(f"{API}/incidents", params={"q": q}).json())

    for q in ("boiler", "BOILER no", "7 boiler", "no. north", "%", "7 %_!"):
        assert found(q) == [2, 1], q
    assert found("turbine") == [9], "of its own site alone"
    assert found("another turbine") == [9], "one word is in its text, the other in a name"
    assert found("boiler turbine") == found("__") == []
    buckets = browser.get(f"{API}/incidents-over-time", params={"q": "boiler"}).json()["buckets"]
    assert sum(pages + others for _, pages, others in buckets) == 2


class Named(Plant):
    """A plant whose table has names; what is in them is text."""

    def __init__(self) -> None:
        super().__init__(None)
        names = {("north", "10.0.0.2"): "Boiler no. 7 %_!", ("mill", "10.0.0.2"): "Turbine"}
        self._devices = known_devices({device: Label(name, "") for device, name in names.items()})


def test_counts_are_of_what_is_left_without_those_filters(client: TestClient) -> None:
    counts = {"page": 1, "review": 1, "suppressed": 0, "settled": 0}
    for query in ("site=north", "site=north&page=yes", "site=north&settled=yes"):
        assert client.get(f"{API}/incidents?{query}").json()["counts"] == counts


@pytest.mark.parametrize("sort", ["-last_us", "last_us", "-severity", "severity", "flows"])
def test_pages_of_the_list_join_without_gap_or_double(client: TestClient, sort: str) -> None:
    whole = numbers(client.get(f"{API}/incidents?sort={sort}").json())
    paged: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = client.get(f"{API}/incidents?sort={sort}&limit=2{f'&after={cursor}' if cursor else ''}").json()
        paged += numbers(answer)
        cursor = answer["next"]
    assert paged == whole and len(whole) == 7


@pytest.mark.parametrize(
    ("path", "status", "where"),
    [
        ("/incidents?sort=uid", 400, "sort"),
        ("/incidents?severity=bad", 400, "severity"),
        ("/incidents?state=%00", 400, "state"),
        ("/incidents?after=zzz", 400, "after"),
        ("/incidents?after=WzEsMl0", 400, "after"),
        ("/incidents?limit=501", 422, "query.limit"),
        ("/incidents?since_us=99999999999999999999999", 422, "query.since_us"),
        ("/incidents/feed", 404, "incident feed"),
        ("/incidents/000000", 404, "incident 000000"),
        ("/nothing", 404, "/api/v1/nothing"),
    ],
)
def test_errors_say_where_and_what_was_expected(client: TestClient, path: str, status: int, where: str) -> None:
    answer = client.get(f"{API}{path}")
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["where"] == where and error["got"]


def test_one_incident_is_named_by_any_members_uid_or_its_start(tmp_path: Path) -> None:
    seen = [alert(0xAAAA0001 << 96, "left"), alert(0xBBBB0002 << 96, "top", first_us=1), alert(0xCCCC << 112)]
    seen[2]["unmapped"]["site"] = "other"
    client = client_of(store_of(tmp_path, seen))
    for name in ("aaaa0001", "bbbb0002", f"{0xBBBB0002 << 96:032x}"):
        answer = client.get(f"{API}/incidents/{name}").json()
        assert answer["incident"]["uid"].startswith("aaaa0001")
        assert [each["finding_info"]["uid"][:8] for each in answer["alerts"]] == ["aaaa0001", "bbbb0002"]
        assert [each["what"] for each in answer["timeline"]] == [
            "first flow",
            "alert opened at sensor left",
            "alert opened at sensor top",
            "last flow",
            "ended",
        ]


def test_similar_ones_are_earlier_and_share_most(client: TestClient) -> None:
    answer = client.get(f"{API}/incidents/{4:032x}").json()
    assert numbers({"incidents": answer["similar"]}) == [3]


def test_changes_are_read_from_where_a_browser_was(tmp_path: Path) -> None:
    store = store_of(tmp_path, [alert(1)])
    start = last_position(store.database)
    store.take_alerts([alert(2, "left", ("10.9.0.1", "10.9.0.2"), site="far")])
    (change,) = changes_after(store.database, start)
    assert change.kind == "incident" and change.data["document"]["site"] == "far"
    assert changes_after(store.database, change.position) == []


def test_an_incident_that_was_joined_with_another_is_gone(tmp_path: Path) -> None:
    store = store_of(tmp_path, [alert(2, "left", first_us=1)])
    start = last_position(store.database)
    store.take_alerts([alert(1, "top")])
    changes = {int(change.data["uid"], 16): change.data["document"] for change in changes_after(store.database, start)}
    assert changes[2] is None and changes[1]["sensors"] == ["left", "top"]


@pytest.mark.parametrize("position", [-5, 10**9])
def test_who_was_away_for_too_long_reloads(tmp_path: Path, position: int) -> None:
    store = store_of(tmp_path, [alert(1)])
    assert [change.kind for change in changes_after(store.database, position)] == ["reload"]


HOSTILE = "<script>alert(1)</script>\x00\x1b[31m\u202e\u2028</div>'\"`${x}"


def test_hostile_text_comes_back_as_data(tmp_path: Path) -> None:
    came = alert(1, HOSTILE, (HOSTILE, "10.0.0.1"), message=HOSTILE, title=HOSTILE, site=HOSTILE)
    client = client_of(store_of(tmp_path, [came]))
    answer = client.get(f"{API}/incidents", params={"site": HOSTILE, "sensor": HOSTILE, "asset": HOSTILE})
    (document,) = answer.json()["incidents"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (document["title"], document["sensors"]) == (HOSTILE, [HOSTILE])
    assert client.get(f"{API}/incidents/{1:032x}").json()["alerts"] == [came]


def test_the_local_user_sees_and_judges_without_signing_in(client: TestClient) -> None:
    answer = client.get(f"{API}/session").json()
    assert (answer["role"], answer["login"]) == ("analyst", False)
    assert answer["user"] and len(answer["csrf"]) > 30
    assert client.get(f"{API}/audit").status_code == 403
