"""A picture of a coadd to look at: the image with its sources, and how sharp they are."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """How many of the brightest sources are drawn."""

    circles: int = 400


def run(quantum: Quantum, config: Config) -> None:
    """Draw the QA plot: stars lie on one line of width, whatever their magnitude."""
    import numpy as np
    from measuring import images, plots, sources

    coadd = images.read_image(quantum.path("coadd"))
    table = sources.from_arrow(quantum.get("catalogue"))
    good = table[(table["flux_r5"] > 0) & ((table["flags"] & sources.FLAG_MASKED) == 0)]
    seeing = sources.seeing(table)
    panel = plots.Panel(
        title=f"widths; stars have {seeing:.2f} pixels",
        x_label="magnitude within 5 pixels",
        y_label="FWHM [pixel]",
        x=float(coadd.meta["MAGZERO"]) - 2.5 * np.log10(good["flux_r5"]),
        y=good["fwhm"],
        lines=(seeing,),
        y_range=(0.0, max(4.0 * seeing, 1.0)),
    )
    band, frames = coadd.meta["BAND"], coadd.meta["NCOMBINE"]
    figure = plots.qa_plot(
        coadd.data,
        table,
        f"coadd {quantum.data_id['instrument']} {band}: {frames} frames, {len(table)} sources",
        panel,
        hidden=(coadd.flags & images.NO_DATA) != 0,
        circles=config.circles,
    )
    quantum.put("plot", plots.png(figure))
    quantum.measure("seeing_pixels", seeing)
    quantum.measure("sources_in_panel", len(good))
