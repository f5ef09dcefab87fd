"""The sum of a band's aligned frames: flux scaled, weighted by inverse variance."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import NothingToDo, Quantum


@dataclass(frozen=True)
class Config:
    """Which cards of the frames stay true of their sum."""

    keep: tuple[str, ...] = (
        "INSTRUME",
        "TELESCOP",
        "ORIGIN",
        "OBJECT",
        "FILTER",
        "INSFLNAM",
        "DETECTOR",
        "RA",
        "DEC",
    )


def run(quantum: Quantum, config: Config) -> None:
    """Add what was aligned. One weight a frame: a weight a pixel would follow the star light and bias it."""
    import ccdproc
    import numpy as np
    from astropy.io import fits
    from astropy.nddata import CCDData

    from measuring import images

    frames = [images.read_image(path) for path in quantum.paths("aligned")]
    if not frames:
        raise NothingToDo("no_frames")
    scales = [float(frame.meta["FLXSCALE"]) for frame in frames]
    scaled = [frame.data * scale for frame, scale in zip(frames, scales, strict=True)]
    variances = [frame.uncertainty.array * scale**2 for frame, scale in zip(frames, scales, strict=True)]
    weights = np.array([1 / np.median(v[~f.mask]) for v, f in zip(variances, frames, strict=True)])
    hidden = np.array([frame.mask for frame in frames])
    covered = np.array([(frame.flags & images.NO_DATA) == 0 for frame in frames])
    nowhere = hidden.all(axis=0)
    # where every frame is masked (the core of a saturated star) the sum of what is there still makes a
    # picture; its mask says what it is worth
    use = np.where(nowhere, covered, ~hidden)
    combiner = ccdproc.Combiner(
        [CCDData(d, mask=~u, unit="electron") for d, u in zip(scaled, use, strict=True)]
    )
    combiner.weights = weights
    data = np.ma.filled(np.ma.masked_invalid(combiner.average_combine().data), 0.0)
    share = np.where(use, weights[:, None, None], 0.0)
    total = share.sum(axis=0)
    empty = total == 0
    total[empty] = 1.0
    variance = (share**2 * np.array(variances)).sum(axis=0) / total**2
    flags = np.zeros(data.shape, dtype=np.uint8)
    for frame in frames:
        flags |= np.where(nowhere, frame.flags, 0).astype(np.uint8)
    flags[empty] |= images.NO_DATA
    data[empty] = 0.0
    variance[empty] = 0.0
    first = frames[0].meta
    header = fits.Header()
    for keyword in config.keep:
        if keyword in first:
            header[keyword] = (first[keyword], first.comments[keyword])
    header["NCOMBINE"] = (len(frames), "frames added")
    header["EXPTIME"] = (sum(float(f.meta["EXPTIME"]) for f in frames), "[s] of all frames together")
    header["REFVISIT"] = (first["REFVISIT"], "relative: pixels and flux as in this visit")
    header["SKYRAMP0"] = (max(f.meta["SKYRAMP0"] for f in frames), "largest of the frames, before the flat")
    header["SKYRAMP"] = (max(f.meta["SKYRAMP"] for f in frames), "largest of the frames")
    header["ALIGNRMS"] = (max(f.meta["ALIGNRMS"] for f in frames), "[pixel] largest of the frames")
    images.write_image(
        quantum.path("coadd"),
        images.image(data, variance, flags, header),
        {"NEXP": (use & ~nowhere).sum(axis=0).astype(np.uint8)},
    )
    quantum.measure("frames", len(frames))
    for item, weight, scale in zip(quantum.inputs["aligned"], weights / weights.sum(), scales, strict=True):
        quantum.measure(f"weight_{item.data_id['visit']}", float(weight))
        quantum.measure(f"scale_{item.data_id['visit']}", float(scale))
