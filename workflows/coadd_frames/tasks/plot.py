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
    from measuring import images, plots, sources

    coadd = images.read_image(quantum.path("coadd"))
    table = sources.from_arrow(quantum.get("catalogue"))
    panel = plots.width_panel(table, "magnitude within 5 pixels", zero_point=float(coadd.meta["MAGZERO"]))
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
    quantum.measure("seeing_pixels", panel.lines[0])
    quantum.measure("sources_in_panel", len(panel.x))
