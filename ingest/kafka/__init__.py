"""Kafka: consumer, producer, watermarks; messages and their keys."""
