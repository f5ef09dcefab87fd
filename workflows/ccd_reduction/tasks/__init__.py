"""Reduction of CCD frames: bias, flat, isr, measure, gate, reference, align, coadd, metrics."""
