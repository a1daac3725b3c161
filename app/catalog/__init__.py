"""Catalog files in the many shapes that shops export, read as Products."""
