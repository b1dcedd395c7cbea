"""Maintenance of the lake: removes what is verified and no longer needed, and nothing else."""
