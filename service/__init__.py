"""The server: HTTP → params → queue → batcher → engine → encoder → response.

Front door: `service.app.create_app`. Start a server with `python -m service`.
"""
