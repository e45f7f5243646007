"""Logging, finalizers and temporary files: the standard library's, under procession's name."""

import sys

import multiprocessing.util

sys.modules[__name__] = multiprocessing.util
