"""Explanation: signed Grad-CAM, the dynamic threshold and their images; knows tensors and arrays, no files.

Not named `explain`: that is the package's public function, and one name cannot be both.
"""
