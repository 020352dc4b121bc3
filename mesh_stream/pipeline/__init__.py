"""What happens to a record: the path and its stages; pure, without Kafka or a clock."""
