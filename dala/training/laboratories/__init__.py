"""Several laboratories at once: from images at their physical scale to weights that know where they hold."""
