"""Drawn images with known structures: H&E fields and a mammogram. No image of a patient is in them."""
