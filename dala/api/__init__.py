"""The HTTP API beside the pages: an opinion of an image, and kept cases, for laboratory systems and scripts.

`routes.api_routes` is what the server's entry adds; nothing else imports this room. Everything is described by the
OpenAPI document that it serves (`document`), and every error is a problem (`problems`) of one sentence.
"""
