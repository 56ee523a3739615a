"""Two cameras with one id: found out by what they say, and never of one that is only slow."""

from hypothesis import given
from hypothesis import strategies as st

from host_tools.watch.records import Records
from host_tools.watch.twins import Twins
from tests.watch.cameras import health, jpeg, stamped, state
from tests.watch.desk import Desk


@given(st.data())
def test_one_camera_is_never_taken_for_two(data: st.DataObject) -> None:
    """Whatever a broker brings again, and in whatever order after the first time."""
    said = [
        (boot, conn, up_s)
        for boot in range(5, 5 + data.draw(st.integers(1, 12)))
        for conn in (1, 2)
        for up_s in (0, 60 * conn, 60 * conn + 1)
    ]
    twins = Twins()
    for at in range(len(said)):
        assert not twins.report(*said[at])
        for again in data.draw(st.lists(st.integers(0, at), max_size=3)):
            # Of the boots that are no longer remembered it could not tell.
            if said[at][0] - said[again][0] < 6:
                assert not twins.report(*said[again])


def test_two_boot_counters_by_turns_are_two_cameras(desk: Desk) -> None:
    for up_s, boot in enumerate([3, 8, 3, 8, 3, 8]):
        desk.intake.health("cam1", health(boot, 0, conn=1, up_s=up_s), retained=False)
    told = [event.text for event in desk.events if "two cameras use the id cam1" in event.text]
    assert len(told) == 1
    with Records(desk.url) as records:
        (camera,) = records.cameras()
        assert camera.shared_ms
    assert desk.intake.view()[0].shared_at


def test_takeovers_of_the_connection_are_two_cameras(desk: Desk) -> None:
    for boot, conn in ((3, 1), (8, 1), (3, 2), (8, 2)):
        desk.intake.state("cam1", state("online", boot, conn))
    assert any("two cameras" in event.text for event in desk.events)


def test_one_identity_twice_is_two_cameras(desk: Desk) -> None:
    desk.give(stamped("cam1", 1))
    desk.give(stamped("cam1", 1, original=jpeg(9)))
    assert any("two cameras use" in event.text for event in desk.events)


def test_what_was_retained_shows_nothing(desk: Desk) -> None:
    desk.intake.health("cam1", health(3, 0, conn=1, up_s=1), retained=False)
    desk.intake.state("cam1", state("online", 8, 1), retained=True)
    desk.intake.health("cam1", health(8, 0, conn=1, up_s=5), retained=True)
    desk.intake.health("cam1", health(3, 0, conn=1, up_s=9), retained=False)
    assert not any("two cameras" in event.text for event in desk.events)
