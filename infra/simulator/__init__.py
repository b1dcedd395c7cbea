"""A simulated Fediverse: Mastodon servers on loopback, and the truth of what they published.

The demo and the tests listen to it. It runs as a program, `python -m infra.simulator`, or in a test
as a context manager:

    with Simulator(Options(toots=500, speed=float("inf"))) as simulator:
        ...  # listen to simulator.environment["MASTODON_SERVERS"]
        simulator.wait_until_done()
        assert counted == simulator.toots_per_server_per_hour()
"""
