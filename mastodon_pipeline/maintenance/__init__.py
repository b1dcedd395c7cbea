"""The lake, kept: what is verified and no longer needed is removed, and nothing else."""
