"""The container image's entry point: a role is a command, `python -m infra.containers kafka`.

Each role is the native stack's program of that name, with the hosts of docker-compose.yml, so both
have one configuration. `health` is what the engine asks, in every container alike.
"""
