"""What is written to Kafka: the record of a toot, and the sink it goes to."""
