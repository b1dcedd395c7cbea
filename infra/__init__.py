"""What runs beside the pipeline: the native stack, the container files, and what both share."""
