"""Property tests draw the same examples every time, so that a green commit stays green;
HYPOTHESIS_PROFILE=search draws new ones.
"""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("search", max_examples=20_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
