"""sharedctypes: the standard library's, under procession's name."""

import sys

import multiprocessing.sharedctypes

sys.modules[__name__] = multiprocessing.sharedctypes
