"""The `mastodon-pipeline` command: one module a subcommand."""
