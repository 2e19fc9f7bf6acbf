"""What the processes say of themselves to Prometheus: /metrics, /health, /ready."""
