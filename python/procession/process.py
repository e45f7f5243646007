"""Processes, and what is known of the current one: the standard library's, under procession's name."""

import sys

import multiprocessing.process

sys.modules[__name__] = multiprocessing.process
