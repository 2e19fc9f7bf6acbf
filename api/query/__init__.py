"""Answers checked questions; knows no HTTP."""
