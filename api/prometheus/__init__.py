"""The Prometheus query API over the rollups: a declared subset of PromQL, answered from views, exactly."""
