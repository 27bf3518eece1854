"""Data sets as records, labels and patient groups, read from the trees their owners publish."""

from __future__ import annotations


class DataError(ValueError):
    """The data cannot be used as asked; the message is one sentence for the person who asked."""
