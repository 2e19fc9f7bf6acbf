"""From a checked question to an answer; knows no HTTP."""
