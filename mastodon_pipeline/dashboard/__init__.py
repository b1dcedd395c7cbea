"""The dashboard: a page about the tables, for people who never open Dagster.

Streamlit runs `page.py` for each visitor. Only the tables are read, and what Kafka has acknowledged
since (`usage.live`), never landed records. No text of a toot is shown, but for single words that
several accounts have used. What strangers wrote (words, hashtags, apps, servers) is data of figures
and widgets, and never Markdown or HTML.
"""
