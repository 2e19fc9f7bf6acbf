"""Connections, bodies and admission: one client's limits, and those of all together."""
