"""The weighted sum of a band's frames, in nanojansky."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import NothingToDo, Quantum


@dataclass(frozen=True)
class Config:
    """Which cards of the frames stay true of their sum."""

    keep: tuple[str, ...] = ("ORIGIN", "TELESCOP", "FILTER", "OBJECT", "CAMCOL", "BAND", "MAGZERO", "TIMESYS")


def run(quantum: Quantum, config: Config) -> None:
    """Add up. One weight a frame, by its sky: a weight a pixel would follow the star light and bias it."""
    import numpy as np
    from astropy.io import fits

    from measuring import coordinates, images
    from tasks import times

    paths = quantum.paths("warp")
    frames = [images.read_image(path) for path in paths]
    if not frames:
        raise NothingToDo("no_frames")
    weights = np.array([1 / np.median(f.uncertainty.array[~f.mask]) for f in frames])
    hidden = np.array([f.mask for f in frames])
    covered = np.array([(f.flags & images.NO_DATA) == 0 for f in frames])
    nowhere = hidden.all(axis=0)
    # where every frame is masked (the core of a saturated star) the sum of what is there still makes a
    # picture; its mask says what it is worth
    use = np.where(nowhere, covered, ~hidden)
    share = np.where(use, weights[:, None, None], 0.0)
    total = share.sum(axis=0)
    empty = total == 0
    total[empty] = 1.0
    data = sum(s * f.data for s, f in zip(share, frames, strict=True)) / total
    variance = sum(s**2 * f.uncertainty.array for s, f in zip(share, frames, strict=True)) / total**2
    flags = np.zeros(data.shape, dtype=np.uint8)
    for frame in frames:
        flags |= np.where(nowhere & ~empty, frame.flags, 0).astype(np.uint8)
    flags[nowhere & ~empty] &= np.uint8(255 - images.NO_DATA)
    flags[empty] = images.NO_DATA
    first = frames[0].meta
    header = fits.Header([first.cards[k] for k in config.keep if k in first])
    header["NCOMBINE"] = (len(frames), "frames added")
    header["EXPTIME"] = (
        round(sum(float(f.meta["EXPTIME"]) for f in frames), 6),
        "[s] of all frames together",
    )
    times.write(header, min(f.meta["MJD-BEG"] for f in frames), max(f.meta["MJD-END"] for f in frames))
    images.write_image(
        quantum.path("coadd"),
        images.image(data, variance, flags, header, "nJy"),
        {"NEXP": (use & ~nowhere).sum(axis=0).astype(np.uint8)},
        coordinates.cards_of(coordinates.read_wcs(paths[0])),
    )
    quantum.measure("frames", len(frames))
    quantum.measure("noise_of_a_pixel", float(np.sqrt(np.median(variance[flags == 0]))))
    for item, weight in zip(quantum.inputs["warp"], weights / weights.sum(), strict=True):
        quantum.measure(f"weight_{item.data_id['visit']}", float(weight))
