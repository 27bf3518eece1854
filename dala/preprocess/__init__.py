"""Patch to network input, at the scale and in the frame that the weights were trained with."""
