"""Our records in Kafka: schema, encoding, producing, and reading them back."""
