"""Explanation: signed Grad-CAM, the dynamic threshold and their images; knows tensors and arrays, no files."""
