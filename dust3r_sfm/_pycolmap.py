"""The one import of pycolmap.

pycolmap 4.2.1 aborts the process on the first PNG save when it is loaded before zlib, so zlib comes first here, and
every other module takes `pycolmap` from this one (inside the function that needs it: the import costs half a second).
"""

import zlib  # noqa: F401  (must precede pycolmap)

import pycolmap as pycolmap

__all__ = ["pycolmap"]
