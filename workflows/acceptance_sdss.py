"""Acceptance of workflows/coadd_frames on SDSS frames of two nights in g, r and i: one line a figure.

The commands are typed as a person would; the products are then measured here by other code than the tasks'.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from accepting import asked, do, made_again, names, project
from demo import Bar, planned

WORKFLOW = Path(__file__).resolve().parent / "coadd_frames"
RUN = "coadd_frames"
BANDS = ("g", "r", "i")
NIGHTS = 2
RADIUS = 4.0
THRESHOLD = 3.5  # of sep's matched filter; the tasks have a plain one
ARCSEC = 3600.0
FALSE_TIMES = ("MJD-OBS", "MJD-AVG", "DATE-OBS", "DATE-AVG")
FORMATS = {".fits": "fits", ".parquet": "parquet", ".png": "png", ".yaml": "yaml"}
CHECK = "import sys; from astropy.io.fits.scripts.fitscheck import main; sys.exit(main(sys.argv[1:]))"


def accept(directory: Path, data: Path) -> list[Bar]:
    """Run the campaign in a directory and give every figure; ``data`` holds ``sdss-stripe82``."""
    data = data / "sdss-stripe82"
    stars = data / "ref_cat" / "stars.fits"
    project(directory, WORKFLOW / "pipeline.yaml")
    taken = asked(directory, "ingest", "--raw", str(data), "--instrument", "sdss")
    do(directory, "ingest", "--as", "reference_catalogue", str(stars))
    for word in ("plan", "run", "ingest", "status"):
        do(directory, word)
    do(directory, "find", "metrics", "--where", "seeing < 3 and negated_share <= 0.08")
    files = planned(directory)
    bars = [
        Bar("raw frames that came in", taken["added"], at_least=6, at_most=6),
        Bar("files that were left out, each with its reason", len(taken["left_out"]), at_least=9, at_most=9),
        *names(directory, RUN, files),
        *_files(directory),
        *_metrics(directory),
    ]
    for band in BANDS:
        bars += _science(directory / "store" / RUN, band, _reference(stars, band))
    return [*bars, *made_again(directory, RUN)]


def _files(directory: Path) -> Iterator[Bar]:
    """Look into every file: its story, its checksums, its times."""
    from astropy.io import fits

    from prestow.formats import open_format

    there = sorted(p for p in (directory / "store" / RUN).rglob("*") if p.is_file())
    stories = [open_format(FORMATS[p.suffix]).read_story(p) for p in there]
    images = [p for p in there if p.suffix == ".fits"]
    checked = subprocess.run(
        [sys.executable, "-c", CHECK, "--compliance", *map(str, images)], check=False, capture_output=True
    )
    false, spans = 0, []
    for path in images:
        with fits.open(path) as hdus:
            false += any(k in h.header for h in hdus for k in FALSE_TIMES)
            if "MJD-BEG" in hdus[0].header:
                spans.append((hdus[0].header["MJD-END"] - hdus[0].header["MJD-BEG"]) * 86400)
    # a frame and its warp for each band and night, and the coadd of each band
    timed = len(BANDS) * (2 * NIGHTS + 1)
    yield Bar("products without their story", sum(s is None for s in stories), at_most=0)
    yield Bar("fitscheck --compliance of all FITS files, exit code", checked.returncode, at_most=0)
    yield Bar("files with a single time, which would be false", false, at_most=0)
    yield Bar("images with MJD-BEG and MJD-END", len(spans), at_least=timed, at_most=timed)
    # 53.9 s on each row, and 39.2 s from the first row to the last
    yield Bar("shortest time between them, seconds", min(spans), at_least=93.0)


def _metrics(directory: Path) -> Iterator[Bar]:
    """Ask the registry what the tasks said of themselves."""
    for selection in ("passed = 1", "seeing < 3"):
        found = asked(directory, "find", "metrics", "--where", selection)["count"]
        yield Bar(f"bands found by '{selection}'", found, at_least=len(BANDS), at_most=len(BANDS))


def _science(products: Path, band: str, stars: Any) -> Iterator[Bar]:
    """Measure one band's frames and coadd."""
    import pyarrow.parquet as pq
    from astropy.io import fits

    name = f"sdss-{band}"
    coadd = _Image(products / "coadd" / f"coadd-{name}.fits")
    frames, warps = ([_Image(p) for p in _of_band(products / kind, band)] for kind in ("frame", "warp"))
    scatters = [image.on_sky(stars) for image in frames]
    aligned = [image.on_sky(stars) for image in (*warps, coadd)]
    zero_points = [image.zero_point(stars) for image in frames]
    flux_scale = [10 ** (0.4 * (float(coadd.header["MAGZERO"]) - z)) for z in zero_points]
    noises = _empty(coadd, frames, flux_scale)
    rows = pq.read_metadata(products / "catalogue" / f"catalogue-{name}.parquet").num_rows
    table = fits.getdata(products / "catalogue" / f"catalogue-{name}.fits", "SOURCES")
    yield Bar(f"{band}: frames, one a night", len(frames), at_least=NIGHTS, at_most=NIGHTS)
    yield Bar(
        f"{band}: astrometric scatter, arcsec rms of an axis, worst frame",
        max(v for e, n, _ in scatters for v in (e.std(), n.std())),
        at_most=0.06,
    )
    yield Bar(
        f"{band}: the same of warps and coadd, offset included, worst",
        max(float(np.sqrt(np.mean(v**2))) for e, n, _ in aligned for v in (e, n)),
        at_most=0.06,
    )
    yield Bar(
        f"{band}: offset of a frame, arcsec, before it is taken off, worst",
        max(abs(float(np.median(v))) for e, n, _ in scatters for v in (e, n)),
    )
    yield Bar(f"{band}: reference stars compared, fewest", min(n for *_, n in scatters), at_least=20)
    yield Bar(f"{band}: zero points between nights, mag", float(np.ptp(zero_points)), at_most=0.05)
    yield Bar(
        f"{band}: flux scale of the coadd against the stars, mag",
        abs(coadd.zero_point(stars) - float(coadd.header["MAGZERO"])),
        at_most=0.05,
    )
    yield Bar(
        f"{band}: sources over those of the better frame",
        coadd.count() / max(image.count() for image in frames),
        at_least=1.0 + 1e-9,
    )
    yield Bar(f"{band}: sources in the catalogue", rows)
    yield Bar(f"{band}: rows of Parquet less those of the FITS table", abs(rows - len(table)), at_most=0)
    yield Bar(
        f"{band}: detections on the negated coadd, share", coadd.count(-1) / coadd.count(), at_most=0.08
    )
    yield Bar(f"{band}: empty-aperture noise over the better frame's", noises[4.0], at_most=0.85)
    yield Bar(f"{band}: the same in circles of 8 pixels", noises[8.0])


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


def _of_band(folder: Path, band: str) -> list[Path]:
    from astropy.io import fits

    return [p for p in sorted(folder.rglob("*.fits")) if fits.getval(p, "BAND") == band]


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
