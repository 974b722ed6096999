"""What the pairs of a set came to, and the sentence that says why they give no model."""

from dataclasses import dataclass

_TURNED_OF_OVERLAPPING = 0.5
"""Share of the overlapping pairs that only turned, from which turning is the reason. Chosen by hand."""

_FEW_KEYPOINTS = 300
"""Keypoints of a photograph, in the median, below which it shows too little to match; usual ones have thousands. Chosen
by hand."""


@dataclass(frozen=True, kw_only=True)
class PairEvidence:
    """What the pairs of a set came to.

    Attributes:
        num_pairs: that were looked at.
        num_posed: whose relative pose is known.
        num_turned: that overlap, and whose camera only turned.
        num_keypoints: of a photograph, in the median.
    """

    num_pairs: int
    num_posed: int
    num_turned: int
    num_keypoints: int

    @property
    def only_turned(self) -> bool:
        """Whether most of what overlaps was taken from one place."""
        return self.num_turned > _TURNED_OF_OVERLAPPING * (self.num_turned + self.num_posed)

    def why_nothing(self) -> str:
        """Say why no pair has a known geometry, and what to do."""
        if self.only_turned:
            pairs = f"{self.num_turned} overlapping pairs hold" if self.num_turned > 1 else "the overlapping pair holds"
            return (
                f"The photographs were taken from one place: {pairs} a turn of the camera and no change of place, "
                "without which there is no depth; take a step to the side between photographs, by a tenth of the "
                "distance to the scene or more."
            )
        if self.num_keypoints < _FEW_KEYPOINTS:
            return (
                f"The photographs show too little texture: SIFT finds {self.num_keypoints} keypoints in one (median), "
                "and no pair shares enough of them; take them sharper, larger or with more light, or try a network "
                "predictor."
            )
        return (
            f"No two of the photographs share enough to place their cameras ({self.num_pairs} pairs were tried); take "
            "photographs that overlap more, or try another predictor."
        )
