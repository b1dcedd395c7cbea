"""The live views."""
