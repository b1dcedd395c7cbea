"""What can go wrong between Kafka and the object store, as a person can act on it."""


class LandingError(Exception):
    """One line that says what is wrong and names the command or the setting that mends it."""
