"""A picture of an image product to look at: the image with its sources, and how sharp they are."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """How many of the brightest sources are drawn."""

    circles: int = 400


def run(quantum: Quantum, config: Config) -> None:
    """Draw the QA plot: stars lie on one line of width, however bright they are."""
    from measuring import images, plots, sources

    image = images.read_image(quantum.path("image"))
    table = sources.from_arrow(quantum.get("sources"))
    panel = plots.width_panel(table, "-2.5 log10(electrons within 5 pixels)")
    what = quantum.inputs["image"][0].type
    words = " ".join(str(value) for _, value in sorted(quantum.data_id.items()))
    figure = plots.qa_plot(
        image.data,
        table,
        f"{what} {words}: {len(table)} sources",
        panel,
        hidden=(image.flags & images.NO_DATA) != 0,
        circles=config.circles,
    )
    quantum.put("plot", plots.png(figure))
