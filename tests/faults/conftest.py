"""The chains of a session are removed at its end; MINDTUNE_KEEP_CHAINS=1 leaves them to look at."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
