"""Data sets as records, labels and patient groups, read from the trees their owners publish."""
