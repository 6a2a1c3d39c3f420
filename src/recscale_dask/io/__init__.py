"""Reading interactions; writing recommendations and models."""
