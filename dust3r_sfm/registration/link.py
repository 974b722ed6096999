"""The link that is missing where a photograph or a part stays out."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Link:
    """The most promising pair of two photographs that no link came of.

    Attributes:
        image1: the photograph that is left out, or one of the part that stays apart.
        image2: the other one.
        num_agreeing: matches between them, or of all pairs between the parts, that agree on where it belongs.
        num_needed: how many would have done.
        why: what is wrong with enough of them; empty where they are too few.
    """

    image1: int
    image2: int
    num_agreeing: int
    num_needed: int
    why: str = ""

    def of_image(self, names: Sequence[str]) -> str:
        """Say why the photograph is not placed, as the end of a sentence that begins with its name."""
        return f"not placed: its best link, to {names[self.image2]}, has {self._matches()}"

    def of_part(self, names: Sequence[str]) -> str:
        """Say why the part is apart."""
        return f"apart: its best link, between {names[self.image1]} and {names[self.image2]}, has {self._matches()}"

    def _matches(self) -> str:
        if self.why:
            return f"{self.num_agreeing} matches that agree, but {self.why}"
        return f"{self.num_agreeing or 'no'} matches that agree ({self.num_needed} needed)"
