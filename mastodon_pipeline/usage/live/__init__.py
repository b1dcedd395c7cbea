"""The tables as they are at this moment: with what has landed since, and what is in the topic."""
