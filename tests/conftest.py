"""Makes the packages and the shared fakes importable, whichever way pytest is started."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent

for folder in (TESTS, TESTS.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
