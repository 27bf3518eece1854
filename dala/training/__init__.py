"""Training and honest evaluation: recipe, fit, metrics with intervals by patient group."""
