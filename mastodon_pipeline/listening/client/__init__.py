"""How we behave towards other people's servers: connections, addresses, pacing, tokens."""
