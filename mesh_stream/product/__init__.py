"""What is promised: declarations, schemas, rules. No I/O but files, no Kafka."""
