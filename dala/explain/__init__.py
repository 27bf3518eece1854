"""Explanation: signed Grad-CAM, the dynamic threshold and their pictures; knows tensors and arrays, no files."""
