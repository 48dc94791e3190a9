"""What all tests share."""

from __future__ import annotations

import gc

# To compile a replay makes a hundred thousand objects, which refer to one another and last: looked at as often as Python does
# unless told otherwise, they take a fifth of the time of all tests.
gc.set_threshold(100_000, 20, 20)
