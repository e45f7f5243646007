"""Pickling of what travels between processes: the standard library's, under procession's name."""

import sys

import multiprocessing.reduction

sys.modules[__name__] = multiprocessing.reduction
