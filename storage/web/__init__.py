"""Web: a plain page of the calls, and storage's health and metrics, over HTTP.

The door of the room. Takes feedback from web applications, and changes
nothing else. Everything that it shows is escaped.
"""

from storage.web.app import Pages, make_app
from storage.web.listening import CannotListenError, listen_web
from storage.web.posted_feedback import PostedFeedback

__all__ = ["CannotListenError", "Pages", "PostedFeedback", "listen_web", "make_app"]
