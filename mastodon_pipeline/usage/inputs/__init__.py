"""What an hour of toots is made from: its landed records, or its toots once these were removed."""
