"""The page: Streamlit runs this file for each visitor, and again after each of their choices."""

import streamlit as st

from mastodon_pipeline.dashboard.showing import show_page

st.set_page_config(
    page_title="mastodon_pipeline",
    layout="wide",
    initial_sidebar_state="auto",
    menu_items={"About": "Counts public toots: mastodon_pipeline"},
)
show_page()
