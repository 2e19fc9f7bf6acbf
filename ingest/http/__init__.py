"""The gateway: producers' own protocols over HTTP become messages in Kafka, answered when the broker has them."""
