"""Metrics, intervals, paired tests and prediction sets: numpy and scipy only, each written once."""
