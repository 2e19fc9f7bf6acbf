"""Alerts: rules on what the api answers, evaluated each second; who is told when one fires, and when it is over."""
