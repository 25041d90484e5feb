"""FITS files: headers in their dialects, reading and writing."""
