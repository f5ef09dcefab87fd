"""Datasets of a collection as a table in the words of the IVOA's ObsCore: what there is, where and when, how to get it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from prestow.registry import Registry

_FORMATS = {
    "fits": "image/fits", "parquet": "application/vnd.apache.parquet", "png": "image/png", "json": "application/json",
    "yaml": "application/yaml",
}  # fmt: skip
_DAY = 86_400 * 10**9
_EPOCH = 40_587.0  # the modified Julian date of 1970-01-01

COLUMNS = {
    "dataproduct_type": "", "calib_level": "", "obs_collection": "", "obs_id": "", "obs_publisher_did": "", "access_url": "",
    "access_format": "", "access_estsize": "kbyte", "target_name": "", "s_ra": "deg", "s_dec": "deg", "s_fov": "deg",
    "s_region": "", "s_resolution": "arcsec", "t_min": "d", "t_max": "d", "t_exptime": "s", "t_resolution": "s", "em_min": "m",
    "em_max": "m", "em_res_power": "", "o_ucd": "", "pol_states": "", "facility_name": "", "instrument_name": "",
}  # fmt: skip
"""The mandatory columns with their units. What the registry does not know is null: wavelengths, resolutions."""

_NUMBERS = (
    "s_ra",
    "s_dec",
    "s_fov",
    "s_resolution",
    "t_min",
    "t_max",
    "t_exptime",
    "t_resolution",
    "em_min",
    "em_max",
    "em_res_power",
)


def obscore(registry: Registry, files: pl.DataFrame, datasets: pl.DataFrame) -> pl.DataFrame:
    """Give a row for each file, from tables as `prestow.results.exporting.tables_of` gives them.

    Times are modified Julian dates of TAI. Positions and regions are those of an exposure or visit; of what is
    gathered from several they are null.
    """
    frame = files.join(datasets.drop("type", "run"), on="dataset", maintain_order="left", how="left")
    for element in ("exposure", "visit"):
        if element in frame.columns:
            frame = _observed(registry, frame, element)
    frame = _regions(registry, frame) if "detector" in frame.columns else frame
    for name in ("begin", "end", "exposure_time", "ra", "dec", "object", "corners", "observation"):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None).alias(name))
    instrument = pl.col("instrument") if "instrument" in frame.columns else pl.lit(None, pl.String)
    root = pl.col("quantum").is_null()
    table = pl.col("format") == "parquet"
    named = {
        "dataproduct_type": pl.when(table).then(pl.lit("measurements")).when(pl.col("format").is_in(["fits", "png"])).then(pl.lit("image")),
        "calib_level": pl.when(root & (pl.col("type") == "raw")).then(1).when(pl.col("observation").is_null()).then(3).otherwise(2),
        "obs_collection": pl.col("run"),
        "obs_id": pl.coalesce(pl.col("observation").cast(pl.String), pl.col("dataset")),
        "obs_publisher_did": pl.lit("ivo://prestow/") + pl.col("run") + "?" + pl.col("dataset"),
        "access_url": pl.col("url"),
        "access_format": pl.col("format").replace_strict(_FORMATS, default="application/octet-stream"),
        "access_estsize": (pl.col("size") + 999) // 1000,
        "target_name": pl.col("object"),
        "s_ra": pl.col("ra"),
        "s_dec": pl.col("dec"),
        "s_region": pl.col("corners"),
        "t_min": pl.col("begin").cast(pl.Float64) / _DAY + _EPOCH,
        "t_max": pl.col("end").cast(pl.Float64) / _DAY + _EPOCH,
        "t_exptime": pl.col("exposure_time"),
        "instrument_name": instrument,
    }  # fmt: skip
    empty = {name: pl.lit(None) for name in COLUMNS if name not in named}
    whole = frame.select(**{**named, **empty}).select(*COLUMNS)
    numbers = [pl.col(name).cast(pl.Float64) for name in _NUMBERS]
    return whole.with_columns(*numbers).with_columns(pl.col(pl.Null).cast(pl.String))


def _observed(registry: Registry, frame: pl.DataFrame, element: str) -> pl.DataFrame:
    facts = ("begin", "end", "exposure_time", "ra", "dec", "object")
    known = pl.DataFrame(registry.dimension_records(element))
    known = known.select("instrument", element, *(name for name in facts if name in known.columns))
    joined = frame.join(known, on=["instrument", element], how="left", maintain_order="left", suffix="_of_it")
    merged = [
        pl.coalesce(name, f"{name}_of_it").alias(name) for name in facts if f"{name}_of_it" in joined.columns
    ]
    before = pl.col("observation") if "observation" in joined.columns else pl.lit(None, pl.Int64)
    joined = joined.with_columns(*merged, pl.coalesce(before, pl.col(element)).alias("observation"))
    return joined.drop(name for name in joined.columns if name.endswith("_of_it"))


def _regions(registry: Registry, frame: pl.DataFrame) -> pl.DataFrame:
    """Give the polygon of the detector of an exposure, or of a visit that has one exposure."""
    feet = pl.DataFrame(registry.on_sky.of_visits())
    corners = [f"{axis}{n}" for n in range(4) for axis in ("ra", "dec")]
    text = pl.concat_str(
        [pl.lit("POLYGON ICRS"), *(pl.col(name).round(7) for name in corners)], separator=" "
    )
    feet = feet.select("instrument", "visit", "exposure", "detector", corners=text)
    parts = []
    for element in ("visit", "exposure"):
        if element in frame.columns:
            own = feet.group_by("instrument", element, "detector").agg(pl.col("corners").first(), pl.len())
            own = own.filter(pl.col("len") == 1).drop("len")
            frame = frame.join(own, on=["instrument", element, "detector"], how="left", maintain_order="left")
            frame = frame.rename({"corners": f"corners_{element}"})
            parts.append(pl.col(f"corners_{element}"))
    return frame.with_columns(corners=pl.coalesce(parts) if parts else pl.lit(None, pl.String))


def write_obscore(table: pl.DataFrame, into: Path) -> tuple[Path, Path]:
    """Write ``obscore.csv`` and ``obscore.vot``, a VOTable with units; give both."""
    import numpy as np
    from astropy.table import MaskedColumn, Table

    csv, votable = into / "obscore.csv", into / "obscore.vot"
    into.mkdir(parents=True, exist_ok=True)
    table.write_csv(csv)
    whole = Table()
    for name, unit in COLUMNS.items():
        column = table[name]
        if column.dtype == pl.String:
            whole[name] = np.array(column.fill_null("").to_list(), dtype=str)
        else:
            data = column.fill_null(0).to_numpy()
            whole[name] = MaskedColumn(data, mask=column.is_null().to_numpy(), unit=unit or None)
    whole.write(votable, format="votable")
    return csv, votable
