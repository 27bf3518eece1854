"""What pyproject.toml cannot say: weights and evidence travel inside the package and lie beside it in a checkout."""

from setuptools import find_packages, setup

SHIPPED = {f"dala.shipped.{folder}": folder for folder in ("weights", "evidence")}  # found by `dala.files.shipped`

setup(packages=[*find_packages(include=["dala", "dala.*"]), *SHIPPED], package_dir=SHIPPED)
