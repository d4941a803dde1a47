"""The units of a production have the states of their orders, in both databases."""

from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any

import pytest

from orchestration.backend import BackendUpdate
from orchestration.errors import UnknownUnit
from orchestration.job import Job, Order, OrderUnit, Output, Status
from orchestration.store.jobs import StoredJobs
from orchestration.units import StoredUnits, Unit, UnitInvalid, UnitState, read_unit, unit_of
from tests.databases import BOTH, DatabaseOf
from tests.orchestration.conftest import MakeStore

CELL = "10kmE502N304"
both = pytest.mark.parametrize("database_of", BOTH, indirect=True)


@pytest.fixture
def units(make_store: MakeStore, database_of: DatabaseOf) -> StoredUnits:
    """Return units of two tasks: a cell in both, and another unit in the first."""
    make_store()
    made = StoredUnits(database_of())
    made.put("echo", "2021", [Unit(CELL, "cell", 20.0, 50.0), Unit("unit 7", "unit", 1.0, 2.0)])
    made.put("echo", "", [Unit(CELL, "cell", 20.0, 50.0)])
    return made


def ordered(store: StoredJobs, id_: str = CELL, task: str = "2021", **more: Any) -> Job:
    return store.add(Order("echo", {}, "iss|ann", unit=OrderUnit(id_, task)), **more)[0]


def states(database_of: DatabaseOf) -> dict[tuple[str, str], str]:
    return {(row[0], row[1]): row[2] for row in database_of.run("select task, id, state from units")}


@both
def test_a_unit_has_the_state_of_its_order(make_store: MakeStore, database_of: DatabaseOf, units: StoredUnits) -> None:
    store, place = make_store(), ("2021", CELL)
    job = ordered(store)
    assert store.get(job.id) == job
    assert job.order.unit == OrderUnit(CELL, "2021")
    assert states(database_of) == {("", CELL): "not started", place: "received", ("2021", "unit 7"): "not started"}
    store.tell([job.id], "waits for Airflow")
    assert states(database_of)[place] == "queued"
    store.begin(job.id)
    store.report(job.id, 1, 40, "reading")
    assert states(database_of)[place] == "running"
    store.hand_back(job.id, 1, counted=True)
    assert states(database_of)[place] == "queued"
    store.begin(job.id)
    store.fail(job.id, 2, "no")
    assert states(database_of)[place] == "failed"
    again = ordered(store)
    store.begin(again.id)
    store.publish(again.id, 1, (Output("stringOutput", "x"),))
    assert states(database_of)[place] == "success"
    assert database_of.run("select job from units where state = 'success'") == [(again.id,)]
    store.dismiss(again.id)
    assert states(database_of)[place] == "success", "a deleted order has made its unit"
    assert units.counts() == [
        ("echo", "", "not started", 1),
        ("echo", "2021", "not started", 1),
        ("echo", "2021", "success", 1),
    ]


@both
def test_a_dismissed_order_gives_its_unit_the_state_before(
    make_store: MakeStore, database_of: DatabaseOf, units: StoredUnits
) -> None:
    store = make_store()
    made = ordered(store, manifest=(Output("stringOutput", "x"),))
    assert states(database_of)["2021", CELL] == "success"
    assert units.make_ready("echo", "2021", [CELL, "unit 7", "unit 8"]) == {"unit 7": "not started", "unit 8": None}
    assert units.make_ready("echo", "2021", [CELL]) == {}, "it is ready already"
    assert states(database_of)["2021", CELL] == "ready for delivery"
    later, only = ordered(store), ordered(store, "unit 7")
    store.update(later.id, BackendUpdate(Status.ACCEPTED))
    assert states(database_of)["2021", CELL] == "queued"
    for job in (later, only):
        store.dismiss(job.id)
    assert states(database_of)["2021", CELL] == "success"
    assert states(database_of)["2021", "unit 7"] == "not started"
    assert dict(database_of.run("select id, job from units where task = '2021'")) == {CELL: made.id, "unit 7": None}


@both
def test_an_older_order_does_not_change_the_state_of_a_newer_one(
    make_store: MakeStore, database_of: DatabaseOf, units: StoredUnits
) -> None:
    store = make_store()
    older = ordered(store)
    ordered(store, manifest=(Output("stringOutput", "x"),))
    units.make_ready("echo", "2021", [CELL])
    store.begin(older.id)
    store.fail(older.id, 1, "no")
    assert states(database_of)["2021", CELL] == "ready for delivery"


@both
def test_an_order_of_an_unknown_unit_is_refused(make_store: MakeStore, units: StoredUnits) -> None:
    store = make_store()
    for unit in (OrderUnit("10kmE502N305", "2021"), OrderUnit(CELL, "2022"), OrderUnit("unit 7")):
        with pytest.raises(UnknownUnit, match=unit.id):
            store.add(Order("echo", {}, "iss|ann", unit=unit))
    with pytest.raises(UnknownUnit):
        store.add(Order("extract-product", {}, "iss|ann", unit=OrderUnit(CELL)))
    assert store.unfinished() == ()
    assert units.counts()


@both
def test_units_loaded_again_keep_their_state_unless_one_is_given(database_of: DatabaseOf, units: StoredUnits) -> None:
    given = [Unit(CELL, "cell", 21.0, 51.0, UnitState.FAILED), Unit("new", "unit", 0.0, 0.0)]
    assert units.put("echo", "2021", given) == 1
    assert units.put("echo", "2021", [Unit(CELL, "cell", 22.0, 51.0)]) == 0
    rows = database_of.run("select id, longitude, state from units where task = '2021' order by id")
    assert [tuple(row) for row in rows] == [
        (CELL, 22.0, "failed"),
        ("new", 0.0, "not started"),
        ("unit 7", 1.0, "not started"),
    ]


@pytest.mark.parametrize("database_of", ["postgresql"], indirect=True)
@pytest.mark.usefixtures("units")
def test_changes_of_two_orders_of_one_unit_do_not_block_each_other(
    make_store: MakeStore, database_of: DatabaseOf
) -> None:
    store = make_store()
    one, other = ordered(store), ordered(store)
    waiting = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as threads, store.together() as changes:
        changes.begin(one.id)
        dismissed = threads.submit(store.dismiss, other.id)
        while not dismissed.done() and not database_of.run(waiting):
            sleep(0.02)
        assert changes.begin(other.id) is None, "it is dismissed already"
    assert states(database_of)["2021", CELL] == "running"
    store.fail(one.id, 1, "no")
    assert states(database_of)["2021", CELL] == "failed"


def test_the_centre_of_a_cell_follows_from_its_id() -> None:
    """EPSG:3035 has its origin at 10° E, 52° N with x 4,321,000 and y 3,210,000: 4 km and 5 km from a centre."""
    unit = read_unit({"id": "10kmE432N321"})
    assert (unit.kind, unit.state) == ("cell", None)
    assert unit.longitude == pytest.approx(10 + 4_000 / 68_678, abs=1e-4), "a degree is 68,678 m at 52° N"
    assert unit.latitude == pytest.approx(52 + 5_000 / 111_267, abs=1e-4)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"id": ""}, "id ''"),
        ({"id": "x" * 101, "longitude": "1", "latitude": "1"}, "1 to 100"),
        ({"id": "a\tb", "longitude": "1", "latitude": "1"}, "printable"),
        ({"id": "10kmE432"}, "no cell"),
        ({"id": "10kmE800N321"}, "10kmE799N599"),
        ({"id": "10kmE0432N321"}, "no cell"),
        ({"id": "10kmE٤32N321"}, "no cell"),
        ({"id": "unit 7", "longitude": "181", "latitude": "1"}, "longitude '181'"),
        ({"id": "unit 7", "longitude": "1", "latitude": "nan"}, "latitude 'nan'"),
        ({"id": "unit 7", "longitude": "1"}, "latitude ''"),
        ({"id": CELL, "state": "done"}, "ready for delivery"),
    ],
)
def test_a_row_that_is_no_unit_says_why(row: dict[str, str], problem: str) -> None:
    with pytest.raises(UnitInvalid, match=problem):
        read_unit(row)


@pytest.mark.parametrize(
    "value", [None, CELL, {}, {"id": 7}, {"id": ""}, {"id": CELL, "cell": "x"}, {"id": CELL, "task": ""}]
)
def test_an_execution_s_unit_is_checked(value: Any) -> None:
    with pytest.raises(UnitInvalid, match="an object with id"):
        unit_of(value)
