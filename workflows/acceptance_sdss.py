"""Acceptance of workflows/coadd_frames on SDSS frames of two nights in g, r and i: one line a figure.

The commands are typed as a person would; the products are then measured here by other code than the tasks'.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from demo import PROJECT, Bar, planned, prestow, say

HERE = Path(__file__).resolve().parent
RUN = "coadd_frames"
STORE = f"store/{RUN}"
BANDS = ("g", "r", "i")
NIGHTS = 2
RADIUS = 4.0
THRESHOLD = 3.5  # of sep's matched filter; the tasks have a plain one
ARCSEC = 3600.0
FALSE_TIMES = ("MJD-OBS", "MJD-AVG", "DATE-OBS", "DATE-AVG")


def main() -> int:
    """Run this part alone."""
    data = Path(os.environ.get("PRESTOW_TEST_DATA") or HERE.parent.parent / "shared" / "data")
    with tempfile.TemporaryDirectory(prefix="prestow-sdss-") as scratch:
        bars = accept(Path(scratch), data.absolute())
    for bar in bars:
        say(str(bar))
    return 0 if all(bar.ok for bar in bars) else 1


def accept(directory: Path, data: Path) -> list[Bar]:
    """Run the workflow in a directory and give every figure; ``data`` holds ``sdss-stripe82``."""
    data = data / "sdss-stripe82"
    if not data.is_dir():
        say(f"SKIPPED: coadd_frames was not run. The SDSS frames are not in {data}.")
        return []
    directory.mkdir(parents=True, exist_ok=True)
    pipeline = os.path.relpath(HERE / "coadd_frames" / "pipeline.yaml", directory)
    (directory / "prestow.yaml").write_text(
        PROJECT.format(pipeline=json.dumps(pipeline, ensure_ascii=False)), encoding="utf-8"
    )
    stars = data / "ref_cat" / "stars.fits"
    for words in (
        ("ingest", "--raw", str(data), "--instrument", "sdss"),
        ("ingest", "--as", "reference_catalogue", str(stars)),
        ("plan",),
        ("run",),
        ("ingest",),
        ("status",),
        ("find", "metrics", "--where", "seeing < 3 and negated_share <= 0.08"),
    ):
        if code := prestow(directory, *words):
            return [Bar(f"sdss: exit code of prestow {words[0]}", code, at_most=0)]
    bars = [*_files(directory), *_metrics(directory)]
    for band in BANDS:
        bars += _science(directory / STORE, band, _reference(stars, band))
    return bars


def _files(directory: Path) -> list[Bar]:
    """Look at every file: its name, its story, its checksums, its times."""
    from astropy.io import fits

    from prestow.formats import open_format

    store = directory / "store"
    names = set(planned(directory))
    there = {p.relative_to(store).as_posix() for p in (store / RUN).rglob("*") if p.is_file()}
    formats = {".fits": "fits", ".parquet": "parquet", ".png": "png", ".yaml": "yaml"}
    stories = [open_format(formats[Path(n).suffix]).read_story(store / n) for n in sorted(there)]
    images = sorted(str(store / name) for name in there if name.endswith(".fits"))
    command = "import sys; from astropy.io.fits.scripts.fitscheck import main; sys.exit(main(sys.argv[1:]))"
    checked = subprocess.run(
        [sys.executable, "-c", command, "--compliance", *images], check=False, capture_output=True
    )
    false, spans = 0, []
    for name in images:
        with fits.open(name) as hdus:
            false += any(k in h.header for h in hdus for k in FALSE_TIMES)
            if "MJD-BEG" in hdus[0].header:
                spans.append((hdus[0].header["MJD-END"] - hdus[0].header["MJD-BEG"]) * 86400)
    # a frame and its warp for each band and night, and the coadd of each band
    timed = len(BANDS) * (2 * NIGHTS + 1)
    return [
        Bar("sdss: planned names that are missing", len(names - there), at_most=0),
        Bar("sdss: names that nobody planned", len(there - names), at_most=0),
        Bar("sdss: products without their story", sum(s is None for s in stories), at_most=0),
        Bar("sdss: fitscheck of all FITS files, exit code", checked.returncode, at_most=0),
        Bar("sdss: files with a time that would be false", false, at_most=0),
        Bar("sdss: images with MJD-BEG and MJD-END", len(spans), at_least=timed, at_most=timed),
        # 53.9 s on each row, and 39.2 s from the first row to the last
        Bar("sdss: shortest time between them, seconds", min(spans), at_least=93.0),
    ]


def _metrics(directory: Path) -> Iterator[Bar]:
    """Ask the registry what the tasks said of themselves."""
    passed = _answer(directory, "find", "metrics", "--where", "passed = 1")["count"]
    sharp = _answer(directory, "find", "metrics", "--where", "seeing < 3")["count"]
    yield Bar("sdss: bands that pass by their own metrics", passed, at_least=len(BANDS))
    yield Bar("sdss: bands found by 'seeing < 3'", sharp, at_least=len(BANDS))


def _science(products: Path, band: str, stars: Any) -> Iterator[Bar]:
    """Measure one band's frames and coadd."""
    import pyarrow.parquet as pq
    from astropy.io import fits

    name = f"sdss-{band}"
    coadd = _Image(products / "coadd" / f"coadd-{name}.fits")
    frames = [
        image
        for image in map(_Image, sorted((products / "frame").rglob("*.fits")))
        if image.header["BAND"] == band
    ]
    scatters = [image.on_sky(stars) for image in frames]
    east, north, _ = coadd.on_sky(stars)
    zero_points = [image.zero_point(stars) for image in frames]
    flux_scale = [10 ** (0.4 * (float(coadd.header["MAGZERO"]) - z)) for z in zero_points]
    noises = _empty(coadd, frames, flux_scale)
    rows = pq.read_metadata(products / "catalogue" / f"catalogue-{name}.parquet").num_rows
    table = fits.getdata(products / "catalogue" / f"catalogue-{name}.fits", "SOURCES")
    yield Bar(f"{name}: frames, one a night", len(frames), at_least=NIGHTS, at_most=NIGHTS)
    yield Bar(
        f"{name}: astrometric scatter, arcsec rms of an axis, worst frame",
        max(v for e, n, _ in scatters for v in (e.std(), n.std())),
        at_most=0.06,
    )
    yield Bar(
        f"{name}: the same of the coadd, offset included",
        max(float(np.sqrt(np.mean(v**2))) for v in (east, north)),
        at_most=0.06,
    )
    yield Bar(f"{name}: reference stars compared, fewest", min(n for *_, n in scatters), at_least=20)
    yield Bar(f"{name}: zero points between nights, mag", float(np.ptp(zero_points)), at_most=0.05)
    yield Bar(
        f"{name}: flux scale of the coadd against the stars, mag",
        abs(coadd.zero_point(stars) - float(coadd.header["MAGZERO"])),
        at_most=0.05,
    )
    yield Bar(
        f"{name}: sources over those of the better frame",
        coadd.count() / max(image.count() for image in frames),
        at_least=1.0 + 1e-9,
    )
    yield Bar(f"{name}: sources in the catalogue", rows)
    yield Bar(f"{name}: rows of Parquet less those of the FITS table", abs(rows - len(table)), at_most=0)
    yield Bar(
        f"{name}: detections on the negated coadd, share", coadd.count(-1) / coadd.count(), at_most=0.08
    )
    yield Bar(f"{name}: empty-aperture noise over the better frame's", noises[4.0], at_most=0.85)
    yield Bar(f"{name}: the same in circles of 8 pixels", noises[8.0])


class _Image:
    """A product's planes, and what is found on them."""

    def __init__(self, path: Path) -> None:
        import sep
        from astropy.io import fits
        from astropy.wcs import WCS

        with fits.open(path, memmap=False) as hdus:
            self.header = hdus[0].header
            self.wcs = WCS(hdus["SCI"].header)
            self.data, variance = (hdus[n].data.astype(np.float64) for n in ("SCI", "VAR"))
            self.hidden = (hdus["MASK"].data != 0) | (variance <= 0)
        self.data[self.hidden] = 0.0
        self.error = np.sqrt(np.where(self.hidden, np.median(variance), variance))
        self.found, self.lit = sep.extract(
            self.data, THRESHOLD, err=self.error, mask=self.hidden, minarea=5, segmentation_map=True
        )

    def count(self, sign: int = 1) -> int:
        """Give how many sources there are; with -1, on the negated image."""
        import sep

        if sign > 0:
            return len(self.found)
        return len(sep.extract(-self.data, THRESHOLD, err=self.error, mask=self.hidden, minarea=5))

    def on_sky(self, stars: Any) -> tuple[Any, Any, int]:
        """Give by how many arcsec the bright stars lie east and north of the reference, and how many."""
        import sep
        from astropy.stats import mad_std

        bright = self.found[(self.found["flux"] > 40 * self.error.mean()) & (self.found["flag"] == 0)]
        x, y, _ = sep.winpos(self.data, bright["x"], bright["y"], 1.3)
        mine, theirs = self._pairs(x, y, stars, within=5.0)
        ra, dec = self.wcs.all_pix2world(x[mine], y[mine], 0)
        north = (dec - stars["dec"][theirs]) * ARCSEC
        east = (ra - stars["ra"][theirs]) * np.cos(np.radians(dec)) * ARCSEC
        for _ in range(3):
            fine = np.ones(len(east), dtype=bool)
            for axis in (east, north):
                fine &= np.abs(axis - np.median(axis)) <= 4 * mad_std(axis)
            east, north = east[fine], north[fine]
        return east, north, len(east)

    def zero_point(self, stars: Any) -> float:
        """Give the magnitude of a flux of 1, by circles of 8 pixels about the stars of 15 to 19 mag."""
        import sep

        good = stars[(stars["magnitude"] > 15) & (stars["magnitude"] < 19)]
        x, y = self.wcs.all_world2pix(good["ra"], good["dec"], 0)
        inside = (x > 20) & (y > 20) & (x < self.data.shape[1] - 20) & (y < self.data.shape[0] - 20)
        flux, _, flag = sep.sum_circle(self.data, x[inside], y[inside], 8.0, mask=self.hidden)
        clean = (flux > 0) & (flag == 0)
        return float(np.median(good["magnitude"][inside][clean] + 2.5 * np.log10(flux[clean])))

    def _pairs(self, x: Any, y: Any, stars: Any, *, within: float) -> tuple[Any, Any]:
        from scipy.spatial import KDTree

        sx, sy = self.wcs.all_world2pix(stars["ra"], stars["dec"], 0)
        distance, nearest = KDTree(np.column_stack([sx, sy])).query(np.column_stack([x, y]))
        mine = np.flatnonzero(distance < within)
        return mine, nearest[mine]


def _empty(coadd: _Image, frames: list[_Image], scales: list[float]) -> dict[float, float]:
    """Give the coadd's noise in empty circles over the better frame's, by radius, at the same places."""
    import sep
    from astropy.stats import mad_std
    from scipy.ndimage import binary_dilation

    y, x = (
        v.ravel().astype(float)
        for v in np.mgrid[20 : coadd.data.shape[0] : 11, 20 : coadd.data.shape[1] : 11]
    )
    ra, dec = coadd.wcs.all_pix2world(x, y, 0)
    dark = [~binary_dilation(i.lit > 0, iterations=4) & ~i.hidden for i in (coadd, *frames)]
    ratios = {}
    for radius in (RADIUS, 8.0):
        sums = []
        for image, free, scale in zip((coadd, *frames), dark, (1.0, *scales), strict=True):
            px, py = image.wcs.all_world2pix(ra, dec, 0)
            inside = (px > 10) & (py > 10) & (px < free.shape[1] - 10) & (py < free.shape[0] - 10)
            flux, _, flag = sep.sum_circle(image.data * scale, px, py, radius, mask=~free)
            sums.append(np.where(inside & (flag == 0), flux, np.nan))
        good = np.isfinite(sums).all(axis=0)
        one, *others = (float(mad_std(s[good])) for s in sums)
        ratios[radius] = one / min(others)
    return ratios


def _reference(path: Path, band: str) -> Any:
    """Give the stars of the reference source catalogue that are bright enough to compare."""
    from astropy.io import fits

    rows = fits.getdata(path, 1)
    good = (rows["starnotgal"] == 1) & (rows[band] > 14.5) & (rows[band] < 20.5)
    return np.rec.fromarrays(
        [rows["ra"][good] % 360, rows["dec"][good], rows[band][good]], names="ra,dec,magnitude"
    )


def _answer(directory: Path, *words: str) -> dict[str, Any]:
    answer = subprocess.run(
        [sys.executable, "-m", "prestow", *words, "--json"],
        cwd=directory,
        check=True,
        capture_output=True,
        text=True,
    )
    read: dict[str, Any] = json.loads(answer.stdout)
    return read


if __name__ == "__main__":
    raise SystemExit(main())
