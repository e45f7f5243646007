"""spawn: the standard library's, under procession's name."""

import sys

import multiprocessing.spawn

sys.modules[__name__] = multiprocessing.spawn
