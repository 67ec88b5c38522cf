from hypothesis import given
from hypothesis import strategies as st

from opticam_dask.tables.coverage import Coverage, doubled, lacking

NIGHT, CAMERA = "2024-01-01", "1:g"


def spans(*pairs, night=NIGHT):
    return [(night, CAMERA, start, stop) for start, stop in pairs]


cuts = st.lists(st.integers(0, 40), min_size=0, max_size=12, unique=True).map(sorted)
some = cuts.map(lambda edges: list(zip(edges[::2], edges[1::2], strict=False)))


@given(sets=st.lists(some, min_size=1, max_size=3), start=st.integers(0, 30), length=st.integers(1, 20))
def test_pieces_are_the_frames_that_sets_lack_and_no_others(sets, start, length):
    span = (NIGHT, CAMERA, start, start + length)
    pieces = lacking(span, [Coverage(spans(*pairs)) for pairs in sets])
    found = {frame: numbers for (_, _, a, b), numbers in pieces for frame in range(a, b)}
    expected = {}
    for frame in range(start, start + length):
        numbers = tuple(i for i, pairs in enumerate(sets) if not any(a <= frame < b for a, b in pairs))
        if numbers:
            expected[frame] = numbers
    assert found == expected
    assert sum(b - a for (_, _, a, b), _ in pieces) == len(expected)


def test_a_block_that_no_set_has_is_not_cut():
    whole = (NIGHT, CAMERA, 10, 20)
    empty = Coverage([])
    other = Coverage(spans((0, 10), (20, 30)) + spans((0, 40), night="2024-01-02"))
    assert lacking(whole, [empty, other]) == [(whole, (0, 1))]


def test_enclosed_is_every_frame():
    held = Coverage(spans((0, 10), (10, 20), (25, 30)))
    assert held.encloses((NIGHT, CAMERA, 5, 20))
    assert not held.encloses((NIGHT, CAMERA, 5, 21))
    assert not held.encloses((NIGHT, CAMERA, 18, 27))
    assert not held.encloses(("2024-01-02", CAMERA, 5, 6))


def test_of_parts_that_overlap_the_later_is_doubled():
    parts = spans((0, 10), (8, 12), (10, 14), (14, 20))
    assert doubled(parts) == set(spans((8, 12)))
    assert doubled(spans((0, 10)) + spans((5, 15), night="2024-01-02")) == set()


def test_of_parts_that_begin_together_the_longest_stays():
    assert doubled(spans((0, 3), (0, 9), (9, 12), (11, 14))) == set(spans((0, 3), (11, 14)))
