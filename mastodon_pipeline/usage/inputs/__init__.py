"""What an hour of toots is made from: its landed records, or the toots kept in their place."""
