"""For all tests: they talk to this machine only, so a proxy that the environment names is none of theirs; and
it may be a busy one, so no example of hypothesis fails for its time.
"""

import os

from hypothesis import HealthCheck, settings

for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]

# Beyond what hypothesis itself has chosen: in CI it draws the same examples each time.
settings.register_profile(
    "shared machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")
