"""QA plots as matplotlib figures, drawn by Agg with fixed settings: the same values give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_STYLE = {"font.family": "DejaVu Sans", "font.size": 8, "savefig.dpi": 100, "figure.dpi": 100}
_MOST_PIXELS = 900


@dataclass(frozen=True)
class Panel:
    """A diagnostic beside the image: points, and lines at fixed y."""

    title: str
    x_label: str
    y_label: str
    x: Any
    y: Any
    lines: tuple[float, ...] = field(default=())
    log_x: bool = False
    y_range: tuple[float, float] | None = None


def width_panel(table: Any, x_label: str, *, zero_point: float = 0.0) -> Panel:
    """Give the panel of widths over brightness, with a line where the stars are; stars lie along it.

    Brightness is ``zero_point`` - 2.5 log10 of the flux within 5 pixels. Sources with masked pixels are left out.
    """
    from measuring import sources

    good = table[(table["flux_r5"] > 0) & ((table["flags"] & sources.FLAG_MASKED) == 0)]
    seeing = sources.seeing(table)
    return Panel(
        title=f"widths; stars have {seeing:.2f} pixels",
        x_label=x_label,
        y_label="FWHM [pixel]",
        x=zero_point - 2.5 * np.log10(good["flux_r5"]),
        y=good["fwhm"],
        lines=(seeing,),
        y_range=(0.0, max(4.0 * seeing, 1.0)),
    )


def qa_plot(
    data: Any, table: Any, title: str, panel: Panel, *, hidden: Any = None, circles: int = 400
) -> Any:
    """Draw an image by zscale with its sources, and one diagnostic panel.

    ``hidden`` pixels are not looked at for the scale. At most ``circles`` of the brightest sources are drawn.
    """
    from astropy.visualization import ZScaleInterval
    from matplotlib.figure import Figure

    step = max(1, -(-max(data.shape) // _MOST_PIXELS))
    seen = data if hidden is None else np.where(hidden, np.nan, data)
    low, high = ZScaleInterval(contrast=0.15).get_limits(seen[::step, ::step])
    with _settings():
        figure = Figure(figsize=(11, 5.5), layout=None)
        left, right = figure.subplots(1, 2, width_ratios=(1.45, 1.0))
        left.imshow(
            _shrunk(data, step),
            cmap="gray",
            vmin=low,
            vmax=high,
            origin="lower",
            interpolation="nearest",
            extent=(-0.5, data.shape[1] - 0.5, -0.5, data.shape[0] - 0.5),
        )
        flagged = table["flags"][:circles] != 0
        for chosen, colour in ((~flagged, "#2ca0ff"), (flagged, "#ff9020")):
            left.scatter(
                table["x"][:circles][chosen],
                table["y"][:circles][chosen],
                s=14,
                facecolors="none",
                edgecolors=colour,
                linewidths=0.5,
            )
        left.set(title=title, xlabel="x [pixel]", ylabel="y [pixel]")
        right.plot(panel.x, panel.y, ".", markersize=2, color="#204060")
        for line in panel.lines:
            right.axhline(line, color="#c03020", linewidth=0.8)
        right.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
        if panel.log_x:
            right.set_xscale("log")
        if panel.y_range:
            right.set_ylim(*panel.y_range)
        figure.subplots_adjust(left=0.06, right=0.98, bottom=0.1, top=0.92, wspace=0.15)
    return figure


def png(figure: Any) -> bytes:
    """Give a figure as the bytes of a PNG that says nothing of when and by what it was drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    sink = io.BytesIO()
    with _settings():
        FigureCanvasAgg(figure).print_png(sink, metadata={"Software": None})
    return sink.getvalue()


def _shrunk(data: Any, step: int) -> Any:
    """Give means over blocks: thinning out would lose faint things."""
    rows, columns = (n // step * step for n in data.shape)
    cut = data[:rows, :columns]
    return cut.reshape(rows // step, step, columns // step, step).mean(axis=(1, 3))


@contextmanager
def _settings() -> Iterator[None]:
    """Hold matplotlib to its defaults, whatever a matplotlibrc says."""
    import matplotlib as mpl

    kept = {k: v for k, v in mpl.rcParamsDefault.items() if k not in {"backend", "backend_fallback"}}
    with mpl.rc_context({**kept, **_STYLE}):
        yield
