"""Requests on the wire: their models, the OpenAPI document, the page that explains them."""
