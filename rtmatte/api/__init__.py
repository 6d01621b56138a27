"""The control API of one live line, whatever carries it: a request in, a response out, and nothing of a socket.

A front reads at most `Api.limit` bytes of a body, hands the request to `Api.answer` on any thread but the line's own,
and sends what comes back. Who may ask at all is the front's business.
"""

from __future__ import annotations

from rtmatte.api.handlers import VIEWS, Line, shown
from rtmatte.api.messages import ApiError, Request, Response
from rtmatte.api.routes import ROUTES, Api, openapi

__all__ = ["ROUTES", "VIEWS", "Api", "ApiError", "Line", "Request", "Response", "openapi", "shown"]
