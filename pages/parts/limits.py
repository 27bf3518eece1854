"""How large a file may be that pages and programs hand in."""

from __future__ import annotations

import os

LARGEST_MB = int(os.environ.get("DALA_LARGEST_MB", "64"))  # a camera field of 2048 x 1536 at 16 bit takes 19
