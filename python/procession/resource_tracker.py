"""Clean-up of named resources: the standard library's, under procession's name."""

import sys

import multiprocessing.resource_tracker

sys.modules[__name__] = multiprocessing.resource_tracker
