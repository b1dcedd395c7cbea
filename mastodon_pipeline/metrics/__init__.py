"""Metrics for Prometheus: what listeners, sink, ledger, checks and tables do, as numbers to scrape.

Off unless a person starts `mastodon-pipeline metrics`, or sets METRICS_PORT for the native stack.
`infra/grafana/` has a Grafana dashboard that shows them.
"""
