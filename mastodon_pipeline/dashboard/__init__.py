"""The dashboard: a page about the tables, for people who never open Dagster.

Streamlit runs `page.py` for each visitor. Only the tables are read, and what Kafka has acknowledged
since (`usage.live`), never landed records; no text of a toot is. What strangers wrote (hashtags,
apps, servers) is data of figures and widgets, and never Markdown or HTML.
"""
