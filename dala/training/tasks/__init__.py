"""The data sets as training sees them, one file each."""
