"""The model fitted to one's own laboratory: a folder of its images to a site file."""
