"""The product as its operators run it: worker and api as processes, between a real Kafka and a real Redis."""
