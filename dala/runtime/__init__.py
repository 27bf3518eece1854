"""Weights on disk to a prediction: card, weights, engines, calibration, one forward pass."""
