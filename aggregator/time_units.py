"""Lengths of time in the two units that the product counts in: whole seconds (`_S`) and microseconds (`_US`)."""

SECOND_US = 1_000_000

MINUTE_S = 60
MINUTE_US = MINUTE_S * SECOND_US

HOUR_S = 3_600
HOUR_US = HOUR_S * SECOND_US

DAY_S = 86_400
DAY_US = DAY_S * SECOND_US
