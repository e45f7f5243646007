from multiprocessing.sharedctypes import *
