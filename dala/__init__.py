"""A second opinion on breast pathology patches: DALAResNet50 and DT Grad-CAM. Research use only."""

__version__ = "0.1.0"
