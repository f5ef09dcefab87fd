"""Overlaps against exact spherical geometry: signs of products of the very corners, in fractions."""

from fractions import Fraction

import numpy as np
import pytest

from prestow.sky.geometry import Polygons, distance, frames, from_plane, positions, separations, vectors
from prestow.sky.overlap import Searcher


def exact(corners):
    return [tuple(Fraction(float(x)) for x in corner) for corner in corners]


def triple(a, b, c):
    return (
        a[0] * (b[1] * c[2] - b[2] * c[1])
        + a[1] * (b[2] * c[0] - b[0] * c[2])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
    )


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def edges(polygon):
    return list(zip(polygon, polygon[1:] + polygon[:1]))


def holds(polygon, point):
    # With its own middle as well: what is opposite is inside of no polygon.
    middle = tuple(map(sum, zip(*polygon)))
    return all(triple(a, b, point) >= 0 for a, b in edges(polygon)) and dot(middle, point) > 0


def cross_each_other(a, b, c, d):
    """Two arcs shorter than half a circle cross: each separates the ends of the other, on one side."""
    if triple(a, b, c) * triple(a, b, d) > 0 or triple(c, d, a) * triple(c, d, b) > 0:
        return False
    return dot(tuple(x + y for x, y in zip(a, b)), tuple(x + y for x, y in zip(c, d))) > 0


def judge(a, b):
    a, b = exact(a), exact(b)
    if any(holds(a, p) for p in b) or any(holds(b, p) for p in a):
        return True
    return any(cross_each_other(*e, *f) for e in edges(a) for f in edges(b))


def polygon(rng, centre, size, corners):
    """A convex polygon about a centre: corners on an ellipse of its tangent plane."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, corners - 3))
    angle = np.sort(np.concatenate([angle, np.arange(3) * 2 * np.pi / 3 + rng.uniform(0, 1)]))
    ratio = rng.uniform(0.2, 1)
    frame = frames(*centre, rng.uniform(0, 360))
    plane = np.degrees(np.tan(np.radians(size)))
    return from_plane(frame, plane * np.cos(angle), plane * ratio * np.sin(angle))


PLACES = [(0, 90), (123, -90), (0, 0), (359.999, -30), (200, 89.7), (77, 45)]


@pytest.mark.parametrize("size", [1 / 36000, 0.1, 3.0, 25.0])
@pytest.mark.parametrize("place", PLACES)
def test_overlaps_are_those_of_exact_geometry(size, place):
    rng = np.random.default_rng([int(size * 36000), PLACES.index(place)])
    frame = frames(*place)
    seen = set()
    for corners in (3, 4, 5):
        a, b = [], []
        for _ in range(12):
            x, y = rng.uniform(-1, 1, (2, 2)) * np.degrees(np.tan(np.radians(size))) * 1.0
            for group, dx, dy in ((a, x[0], y[0]), (b, x[1], y[1])):
                at = positions(from_plane(frame, np.asarray(dx), np.asarray(dy)))
                group.append(polygon(rng, at, size * rng.uniform(0.1, 1), corners))
        a, b = Polygons.of(np.array(a)), Polygons.of(np.array(b))
        assert a.sound().all()
        assert b.sound().all()
        found = separations(a, np.arange(12), b, np.arange(12)) == 0
        expected = [judge(p, q) for p, q in zip(a.corners, b.corners)]
        assert found.tolist() == expected
        seen.update(expected)
    assert seen == {True, False}


def test_separations_are_the_least_angle_between_points_of_both():
    rng = np.random.default_rng(5)
    share = np.linspace(0, 1, 100)[:, None]
    for place in PLACES:
        a = polygon(rng, place, 1.0, 5)
        b = polygon(rng, positions(from_plane(frames(*place), np.asarray(3.0), np.asarray(1.0))), 0.7, 5)
        lines = []
        for corners in (a, b):
            pieces = [p * (1 - share) + q * share for p, q in zip(corners, np.roll(corners, -1, 0))]
            line = np.concatenate(pieces)
            lines.append(line / np.linalg.norm(line, axis=1, keepdims=True))
        dense = distance(lines[0][:, None], lines[1][None]).min()
        found = separations(Polygons.of(a[None]), [0], Polygons.of(b[None]), [0])[0]
        assert found > 0
        assert found == pytest.approx(dense, abs=3e-4)
        assert found <= dense + 1e-12


def squares(rng, n, size, cap=None):
    if cap is None:
        ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    else:
        ra, dec = rng.uniform(0, 360, n), 90 - rng.uniform(0, cap, n)
    half = size / 2
    corner = np.array([[-half, half, half, -half]]), np.array([[-half, -half, half, half]])
    return Polygons.of(from_plane(frames(ra, dec, rng.uniform(0, 360, n))[:, None], *corner))


@pytest.mark.parametrize("cap", [None, 3.0])
def test_the_search_finds_what_looking_at_all_pairs_finds(cap):
    rng = np.random.default_rng(9)
    known, asked = (
        squares(rng, 300, 5.0 if cap is None else 0.5, cap),
        squares(rng, 80, 3.0 if cap is None else 0.2, cap),
    )
    i, j = (a.ravel() for a in np.indices((80, 300)))
    for padding in (0.0, 0.4):
        every = separations(asked, i, known, j, padding)
        near = every <= padding
        a, b, s = Searcher(known).pairs(asked, padding)
        assert len(a) > 20
        assert (a.tolist(), b.tolist()) == (i[near].tolist(), j[near].tolist())
        assert s.tolist() == every[near].tolist()


def test_a_turn_of_the_whole_sky_changes_nothing():
    rng = np.random.default_rng(3)
    known, asked = squares(rng, 2000, 4.0), squares(rng, 200, 2.0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    before = Searcher(known).pairs(asked, 0.5)
    after = Searcher(Polygons.of(known.corners @ turn.T)).pairs(Polygons.of(asked.corners @ turn.T), 0.5)
    assert before[0].tolist() == after[0].tolist()
    assert before[1].tolist() == after[1].tolist()
    assert np.abs(before[2] - after[2]).max() < 1e-9


def test_more_padding_never_loses_a_pair_and_order_does_not_matter():
    rng = np.random.default_rng(4)
    known, asked = squares(rng, 3000, 3.0), squares(rng, 100, 2.0)
    last = set()
    for padding in (0.0, 0.1, 1.0):
        i, j, s = Searcher(known).pairs(asked, padding)
        pairs = set(zip(i.tolist(), j.tolist()))
        assert last < pairs
        assert s.max() <= padding
        last = pairs
    mixed = rng.permutation(100)
    i, j, _ = Searcher(known).pairs(asked.take(mixed), 1.0)
    assert set(zip(mixed[i].tolist(), j.tolist())) == last


def test_chunks_are_bounded_and_give_everything(monkeypatch):
    rng = np.random.default_rng(6)
    known, asked = squares(rng, 3000, 3.0), squares(rng, 400, 2.0)
    whole = Searcher(known).pairs(asked, 0.2)
    monkeypatch.setattr("prestow.sky.overlap.PAIRS", 50)
    told = []
    parts = list(Searcher(known).chunks(asked, 0.2, told.append))
    assert max(len(i) for i, _, _ in parts) <= 50
    assert told[-1] == 400
    assert sorted(zip(*(np.concatenate(p).tolist() for p in zip(*parts)))) == sorted(
        zip(*(w.tolist() for w in whole))
    )


def test_what_is_no_polygon_is_told():
    bow = vectors([[0, 1, 0, 1]], [[0, 1, 1, 0]])
    line = vectors([[0, 1, 2, 3]], [[0, 0, 0, 0]])
    wide = vectors([[0, 90, 180, 270]], [[10, 10, 10, 10]])
    notched = vectors([[0, 2, 0.5, 0]], [[0, 0, 0.5, 2]])
    lost = vectors([[0, 1, np.nan, 0]], [[0, 0, 1, 1]])
    good = vectors([[0, 1, 1, 0]], [[0, 0, 1, 1]])
    sound = [bool(Polygons.of(p).sound()[0]) for p in (bow, line, wide, notched, lost, good)]
    assert sound == [False, False, False, False, False, True]
