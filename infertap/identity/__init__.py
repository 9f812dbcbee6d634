"""Identity: who calls our servers, and what they may do. For storage and the sidecar's API alike.

The door of the room.
"""

from infertap.identity.caller import ANYONE, NOBODY, Identity, Role, caller_of, set_caller
from infertap.identity.certificates import ServerCertificates, ServerFiles
from infertap.identity.changing import Changing, Say
from infertap.identity.ending import end_call
from infertap.identity.guard import Guard, Reading, Reads, Refusals, decide
from infertap.identity.reads import AccessJournal, LoggedReads, facts_of, told
from infertap.identity.refused import RefusedCalls
from infertap.identity.required import KNOWN, OPEN, ROLES
from infertap.identity.roster import Evidence, Refusal, Roster, RosterError
from infertap.identity.roster_file import open_roster
from infertap.identity.server import make_server

__all__ = [
    "ANYONE",
    "KNOWN",
    "NOBODY",
    "OPEN",
    "ROLES",
    "AccessJournal",
    "Changing",
    "Evidence",
    "Guard",
    "Identity",
    "LoggedReads",
    "Reading",
    "Reads",
    "Refusal",
    "Refusals",
    "RefusedCalls",
    "Role",
    "Roster",
    "RosterError",
    "Say",
    "ServerCertificates",
    "ServerFiles",
    "caller_of",
    "decide",
    "end_call",
    "facts_of",
    "make_server",
    "open_roster",
    "set_caller",
    "told",
]
