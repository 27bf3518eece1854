"""One module for each released schema; a released one is never changed."""
