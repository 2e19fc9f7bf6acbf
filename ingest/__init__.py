"""Kafka to aggregator: read messages, decode them, hand batches over, write dead letters, tell Kafka what is done."""
