"""The memory that the reading process and the storing one share."""

from hypothesis import given
from hypothesis import strategies as st

from host_tools.watch.ring import Ring

MOST, LONGEST = 20_000, 9_000


@given(st.lists(st.integers(0, LONGEST) | st.none(), max_size=200))
def test_what_is_in_it_stays_as_it_is_until_it_is_freed(steps: list[int | None]) -> None:
    memory = memoryview(bytearray(Ring.size(MOST, LONGEST)))
    ring, there = Ring(memory, MOST), []
    for number, length in enumerate(steps):
        if length is None:
            if there:
                ring.free()
                offset, payload = there.pop(0)
                assert memory[offset : offset + len(payload)] == payload
        elif ring.has_room():
            payload = number.to_bytes(2) * (length // 2)
            there.append((ring.put(payload), payload))
    for offset, payload in there:
        assert memory[offset : offset + len(payload)] == payload


@given(st.lists(st.integers(0, LONGEST)))
def test_it_is_full_at_last_and_empty_again(lengths: list[int]) -> None:
    ring, count = Ring(memoryview(bytearray(Ring.size(MOST, LONGEST))), MOST), 0
    for length in [*lengths, *[0] * MOST]:
        if not ring.has_room():
            break
        ring.put(bytes(length))
        count += 1
    assert not ring.has_room(), "even nothing counts"
    for _ in range(count):
        ring.free()
    assert ring.has_room()
