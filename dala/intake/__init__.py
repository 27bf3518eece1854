"""Whatever a user hands in, read safely: files in, plain arrays out, one sentence when that is not possible."""
