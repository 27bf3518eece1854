"""Kept cases: what was seen, said and agreed, in a database that a deliberate click writes to; no page, no model."""
