"""Sums of calibrated frames: frame, detect, astrometry, zero_point, grid, warp, coadd, catalogue, plot, metrics."""
