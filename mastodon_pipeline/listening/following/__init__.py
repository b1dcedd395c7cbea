"""Following one server, then all of them: streams, polling, gaps, positions."""
