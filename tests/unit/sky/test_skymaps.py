"""Sky maps: every place is on a patch, holes are refused with a point in them, faults stand at their place."""

import numpy as np
import pytest

from prestow.errors import ConfigurationError
from prestow.sky.geometry import Polygons, distance, frames, from_plane, positions, to_plane, vectors
from prestow.sky.overlap import Searcher
from prestow.sky.reading import parse_skymap, skymap_from_text
from prestow.sky.shards import ORDER, shards_of

HEAD = "schema: prestow.skymap/1\nname: m\nversion: 1\n"
PATCHES = "patches: {columns: 2, rows: 2, inner: 30 arcmin, border: %s}\n"


def listed(*places, border="0 deg"):
    tracts = ", ".join(f"{{tract: {n}, ra: {ra} deg, dec: {dec} deg}}" for n, (ra, dec) in enumerate(places))
    return HEAD + f"tracts: {{list: [{tracts}]}}\n" + PATCHES % border


def problems(text):
    with pytest.raises(ConfigurationError) as refused:
        parse_skymap(text, "m.yaml")
    assert refused.value.exit_code == 3
    return refused.value.problems


def points(rng, n):
    ra, z = rng.uniform(0, 360, n), rng.uniform(-1, 1, n)
    some = vectors(ra, np.degrees(np.arcsin(z)))
    edge = vectors([0, 0, 0, 359.9999999, 180, 17], [90, -90, 0, 30, 45, 89.999])
    return np.concatenate([some, edge])


@pytest.mark.parametrize(
    "tracts",
    [
        "{rings: {number: 3}}",
        "{rings: {number: 12, overlap: 1 arcmin}}",
        "{rings: {number: 37}}",
        "{healpix: {order: 1}}",
        "{healpix: {order: 2}}",
    ],
)
def test_a_map_of_the_whole_sky_has_a_patch_for_every_point(tracts):
    skymap = parse_skymap(HEAD + f"tracts: {tracts}\npatches: {{columns: 5, rows: 4}}\n")
    tract, patch, polygons = skymap.patch_polygons()
    assert polygons.sound().all()
    assert len(set(zip(tract.tolist(), patch.tolist()))) == len(polygons) == len(skymap.tracts) * 20
    asked = points(np.random.default_rng(1), 3000)
    dots = Polygons.of(np.repeat(asked[:, None], 4, axis=1))
    i, _, _ = Searcher(polygons).pairs(dots)
    assert len(np.unique(i)) == len(asked)
    # Without its first patch it is not whole: the test can fail.
    j, _, _ = Searcher(polygons.take(slice(len(polygons) // 2, None))).pairs(dots)
    assert len(np.unique(j)) < len(asked)


@pytest.mark.parametrize(
    "tracts", ["{rings: {number: 3}}", "{rings: {number: 30, overlap: 2 arcmin}}", "{healpix: {order: 3}}"]
)
def test_patches_too_small_for_their_tract_are_a_hole_and_the_advice_helps(tracts):
    whole = parse_skymap(HEAD + f"tracts: {tracts}\npatches: {{columns: 3, rows: 3}}\n")
    inner = min(whole.inner) * 0.9
    body = f"tracts: {tracts}\npatches: {{columns: 3, rows: 3, inner: %s}}\n"
    (problem,) = problems(HEAD + body % f"{inner:.9f} deg")
    assert problem.code == "PST-S001"
    assert problem.where == "m.yaml:5:39"
    ra, dec = (float(problem.what.partition(f"{axis}=")[2].split()[0]) for axis in ("ra", "dec"))
    number = int(problem.what.partition("of tract ")[2].split()[0])
    frame = whole.frames()[number]
    x, y = to_plane(frame, vectors(ra, dec))
    overlap = 2 / 60 if "overlap" in tracts else 0
    assert max(abs(x), abs(y)) + overlap > 3 * inner / 2
    advice = problem.fix.partition("be ")[2].partition("]")[0] + "]"
    assert parse_skymap(HEAD + body % advice).patches == 9


def test_neighbours_of_a_list_with_a_gap_are_refused_with_a_point_that_nobody_covers():
    # These two part towards the equator and meet towards the pole.
    for text, pair in (
        (listed((359.5, 0), (0.6, 0)), {0, 1}),
        (listed((10, 60), (12, 60)), {0, 1}),
        (listed((10, -80), (10, -81.02), (30, 0)), {0, 1}),
        (listed((0, 89.6), (180, 89.3)), {0, 1}),
    ):
        (problem,) = problems(text)
        assert problem.code == "PST-S001"
        assert {int(word.strip(":")) for word in problem.what.split() if word.strip(":").isdigit()} == pair
        point = vectors(*(float(problem.what.partition(f"{axis}=")[2].split()[0]) for axis in ("ra", "dec")))
        skymap = skymap_from_text_of(text)
        assert not skymap.tract_polygons().contain(point[None]).any()
        assert (distance(skymap.frames()[sorted(pair), 2], point) < 1).all()


def skymap_from_text_of(text):
    """The map without its check, from where its tracts are said to be."""
    import json

    import yaml

    plain = yaml.safe_load(text)
    tracts = [
        {
            "tract": t["tract"],
            "ra": float(t["ra"].split()[0]),
            "dec": float(t["dec"].split()[0]),
            "rotation": 0.0,
        }
        for t in plain["tracts"]["list"]
    ]
    patches = {"columns": 2, "rows": 2, "inner": [0.5, 0.5], "border": 0.0}
    return skymap_from_text(
        json.dumps(
            {"name": "m", "version": 1, "tracts": {"list": tracts}, "patches": patches, "padding": 0.0}
        )
    )


def test_what_tracts_enclose_is_a_hole_and_fields_apart_are_none():
    ring = [(i * 0.95, j * 0.95) for i in range(5) for j in range(5) if not (1 <= i <= 3 and 1 <= j <= 3)]
    (problem,) = problems(listed(*ring))
    assert problem.code == "PST-S001"
    grid = [(i * 0.95, j * 0.95) for i in range(4) for j in range(4)]
    assert len(parse_skymap(listed(*grid)).tracts) == 16
    bricks = [(i * 0.95 + (j % 2) * 0.4, j * 0.95) for i in range(4) for j in range(4)]
    assert len(parse_skymap(listed(*bricks)).tracts) == 16
    assert len(parse_skymap(listed((0, 0), (5, 0), (100, 80))).tracts) == 3
    assert len(parse_skymap(listed((10, 60), (12, 60), border="3 arcmin")).tracts) == 2


def test_every_fault_is_told_at_its_place():
    text = HEAD + (
        "tracts: {list: [{tract: 1, ra: 3, dec: 95 deg}, {tract: 2, dec: 2 deg}]}\n"
        "patches: {columns: 0, rows: 2, inner: 3, bordr: 2}\npadding: -1 deg\n"
    )
    found = {(p.code, p.where) for p in problems(text)}
    assert found == {
        ("PST-C013", "m.yaml:4:32"),
        ("PST-C013", "m.yaml:4:40"),
        ("PST-C012", "m.yaml:4:49"),
        ("PST-C010", "m.yaml:5:42"),
        ("PST-C013", "m.yaml:5:20"),
        ("PST-C013", "m.yaml:5:39"),
        ("PST-C013", "m.yaml:6:10"),
    }


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("tracts: {rings: {number: 500}}\npatches: {columns: 40, rows: 40}\n", "PST-S002"),
        (
            "tracts: {list: [{tract: 0, ra: 0 deg, dec: 0 deg}]}\npatches: {columns: 9, rows: 9, inner: 20 deg}\n",
            "PST-S002",
        ),
        ("tracts: {rings: {number: 3}, healpix: {order: 1}}\npatches: {columns: 1, rows: 1}\n", "PST-C013"),
        ("tracts: {healpix: {order: 20}}\npatches: {columns: 1, rows: 1}\n", "PST-C013"),
        ("tracts: {squares: {}}\npatches: {columns: 1, rows: 1}\n", "PST-C010"),
        ("tracts: {list: []}\npatches: {columns: 1, rows: 1, inner: 1 deg}\n", "PST-C013"),
        ("tracts: {list: [{tract: 0, ra: 0 deg, dec: 0 deg}]}\npatches: {columns: 1, rows: 1}\n", "PST-C012"),
        ("tracts: {rings: {number: three}}\npatches: {columns: 1, rows: 1}\n", "PST-C011"),
        ("tracts: {rings: 3}\npatches: {columns: 1, rows: 1}\n", "PST-C011"),
    ],
)
def test_what_is_no_map_is_refused(body, code):
    assert {p.code for p in problems(HEAD + body)} == {code}


def test_the_digest_is_of_what_is_said_and_not_of_how():
    one = parse_skymap(
        HEAD + "tracts: {rings: {number: 9}}\npatches: {columns: 3, rows: 3, border: 90 arcsec}\n"
    )
    other = parse_skymap(
        "# a comment\nversion: 1\nname: m\nschema: prestow.skymap/1\npatches:\n  rows: 3\n  border: 1.5 arcmin\n  columns: 3\n"
        "tracts:\n  rings:\n    number: 9\n"
    )
    more = parse_skymap(
        HEAD + "tracts: {rings: {number: 9}}\npatches: {columns: 3, rows: 3, border: 91 arcsec}\n"
    )
    assert one.digest == other.digest != more.digest
    again = skymap_from_text(one.text)
    assert again.digest == one.digest
    assert np.array_equal(again.patch_polygons()[2].corners, one.patch_polygons()[2].corners)


def test_a_patch_lies_where_its_column_and_row_say():
    skymap = parse_skymap(listed((200, -40)))
    _, patch, polygons = skymap.patch_polygons()
    ra, dec = positions(polygons.centres)
    east, north = ra > 200, dec > -40
    assert [(bool(e), bool(n)) for e, n in zip(east, north)] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]
    assert [skymap.patch_text(p) for p in patch] == ["0,0", "1,0", "0,1", "1,1"]
    assert [skymap.patch_number(t) for t in ("1,0", 3, "3", "2,0", "-1", "x", "1,1,1")] == [
        1,
        3,
        3,
        None,
        None,
        None,
        None,
    ]


def test_a_shard_that_holds_a_corner_is_found():
    from astropy import units
    from astropy_healpix import HEALPix

    rng = np.random.default_rng(8)
    centre = points(rng, 400)
    ra, dec = positions(centre)
    angle = rng.uniform(0, 360, len(ra))
    x = np.array([[-1, 1, 1, -1]]) * 0.2
    polygons = Polygons.of(from_plane(frames(ra, dec, angle)[:, None], x, np.roll(x, 1, axis=1)))
    i, pixel, separation = shards_of(polygons, 0.0)
    assert (separation == 0).all()
    found = set(zip(i.tolist(), pixel.tolist()))
    grid = HEALPix(2**ORDER, order="nested")
    inside = 0
    for share in np.linspace(0, 1, 7):
        spot = polygons.corners * share + polygons.centres[:, None] * (1 - share)
        lon, lat = positions(spot)
        holds = grid.lonlat_to_healpix(lon * units.deg, lat * units.deg)
        pairs = {(n, int(p)) for n, row in enumerate(holds) for p in row}
        assert pairs <= found
        inside += len(pairs)
    assert len(found) < 4 * len(ra)
    assert inside > len(ra)
