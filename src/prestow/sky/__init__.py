"""The sky: polygons on the sphere, sky maps of tracts and patches, footprints, and what overlaps what.

Needs numpy, and for searching and HEALPix also scipy and astropy-healpix (the extra ``sky``); nothing of
it is imported before a polygon is asked for. Knows no registry and no plan.
"""
