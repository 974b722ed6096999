"""Positional arguments that verbs share."""

from pathlib import Path
from typing import Annotated

import tyro

Photos = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PHOTOS")]
Out = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
Unnamed = tyro.conf.arg(name="")
"""The groups of a class of options stand in the help under their own names."""
