"""The camera of one photograph as the stereo sees it: one focal length, centred principal point, one radial term."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from dust3r_sfm.geometry.pinhole import intrinsics, pixel_grid
from dust3r_sfm.types import Size


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Attributes:
    size: (width, height) of the network picture.
    focal: in network pixels.
    radial: a pixel at normalised radius r lies on the ray of radius r (1 + radial r²); 0 is a pinhole.
    """

    size: Size
    focal: float
    radial: float = 0.0

    @property
    def matrix(self) -> Float64[np.ndarray, "3 3"]:
        """The pinhole matrix of the picture after its radial distortion is removed."""
        return intrinsics(self.focal, self.size)

    def normalise(self, xy: Float[np.ndarray, "*b 2"]) -> Float64[np.ndarray, "*b 2"]:
        """Turn network pixels into the first two components of their rays (z = 1)."""
        centred = (xy - np.array(self.size) / 2) / self.focal
        return np.asarray(centred * (1 + self.radial * (centred**2).sum(-1, keepdims=True)), np.float64)

    def normalise_derivatives(
        self, xy: Float[np.ndarray, "*b 2"]
    ) -> tuple[Float64[np.ndarray, "*b 2"], Float64[np.ndarray, "*b 2"]]:
        """Differentiate `normalise` by the log focal length and by the radial term."""
        centred = (xy - np.array(self.size) / 2) / self.focal
        squared = (centred**2).sum(-1, keepdims=True)
        return -centred * (1 + 3 * self.radial * squared), centred * squared

    def undistort(self, xy: Float[np.ndarray, "*b 2"]) -> Float64[np.ndarray, "*b 2"]:
        """Move network pixels to where a pinhole of the same focal length would see them."""
        return self.normalise(xy) * self.focal + np.array(self.size) / 2

    def distort(self, xy: Float[np.ndarray, "*b 2"]) -> Float64[np.ndarray, "*b 2"]:
        """Undo `undistort`, by fixed-point iteration (the radial term of a photograph is small)."""
        undistorted = (np.asarray(xy, np.float64) - np.array(self.size) / 2) / self.focal
        centred = undistorted
        for _ in range(8):
            centred = undistorted / (1 + self.radial * (centred**2).sum(-1, keepdims=True))
        return centred * self.focal + np.array(self.size) / 2

    def rays(self) -> Float64[np.ndarray, "h w 3"]:
        """Give the viewing rays of all network pixels, scaled to z = 1."""
        xy = self.normalise(pixel_grid(self.size[1], self.size[0]))
        return np.concatenate([xy, np.ones((*xy.shape[:2], 1))], axis=-1)
