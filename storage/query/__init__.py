"""Query: what reads the archive for people: by call id, in pages, in figures, whole; few at a time.

The door of the room. It writes nothing.
"""

from storage.query.asking import Asking, TookTooLongError, TooManyQuestionsError
from storage.query.places import PLACE_BYTES, Place
from storage.query.records import Records

__all__ = ["PLACE_BYTES", "Asking", "Place", "Records", "TooManyQuestionsError", "TookTooLongError"]
