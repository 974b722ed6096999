"""The camera of one photograph as the stereo sees it: a pinhole, centred and square unless known, and a radial term."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, Float64

from dust3r_sfm.geometry.grid import raw_from_upright
from dust3r_sfm.geometry.pinhole import pixel_grid
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.types import Size, View

_FIT_SIDE = 16
"""Positions across the picture, each way, that a known distortion is fitted at."""
_NO_RADIAL = 1e-9
"""What rounding leaves of the radial term of a pinhole."""


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Attributes:
    size: (width, height) of the network picture.
    focal: horizontal focal length in network pixels.
    radial: a pixel at normalized radius r lies on the ray of radius r (1 + radial r²); 0 is a pinhole.
    aspect: vertical over horizontal focal length; 1 unless known.
    principal_point: in network pixels; the centre unless known.
    is_known: the user gave this lens, and nothing may change it.
    """

    size: Size
    focal: float
    radial: float = 0.0
    aspect: float = 1.0
    principal_point: tuple[float, float] | None = None
    is_known: bool = False

    @classmethod
    def of_known(cls, view: View) -> "Lens":
        """The lens of a photograph whose camera is known; what its distortion has beside a radial term is left out.

        The radial term is the least-squares one over the whole picture.
        """
        matrix = view.known_intrinsics
        assert matrix is not None, f"{view.name} has no known camera"
        lens = cls(
            size=view.network_size,
            focal=float(matrix[0, 0]),
            aspect=float(matrix[1, 1] / matrix[0, 0]),
            principal_point=(float(matrix[0, 2]), float(matrix[1, 2])),
            is_known=True,
        )
        if view.known_camera is None:
            return lens
        raw = pixel_grid(_FIT_SIDE, _FIT_SIDE).reshape(-1, 2) * (np.array(view.size) / _FIT_SIDE)
        network = raw @ view.network_from_image[:2, :2].T + view.network_from_image[:2, 2]
        pinhole = lens.normalize(network)
        ray = (
            np.asarray(colmap_camera(view.known_camera).cam_from_img(raw))
            @ raw_from_upright(view.network_from_image)[:2, :2]
        )
        cubic = pinhole * (pinhole**2).sum(-1, keepdims=True)
        radial = float((cubic * (ray - pinhole)).sum() / (cubic**2).sum())
        return replace(lens, radial=radial if abs(radial) > _NO_RADIAL else 0.0)

    @property
    def focals(self) -> Float64[np.ndarray, " 2"]:
        """Horizontal and vertical focal length in network pixels."""
        return np.array([self.focal, self.focal * self.aspect])

    @property
    def centre(self) -> Float64[np.ndarray, " 2"]:
        """The principal point in network pixels."""
        return np.array(self.size) / 2 if self.principal_point is None else np.array(self.principal_point)

    @property
    def matrix(self) -> Float64[np.ndarray, "3 3"]:
        """The pinhole matrix of the picture after its radial distortion is removed."""
        matrix = np.diag([*self.focals, 1.0])
        matrix[:2, 2] = self.centre
        return matrix

    def normalize(self, xy: Float[np.ndarray, "*b 2"]) -> Float64[np.ndarray, "*b 2"]:
        """Turn network pixels into the first two components of their rays (z = 1)."""
        centred = (xy - self.centre) / self.focals
        return np.asarray(centred * (1 + self.radial * (centred**2).sum(-1, keepdims=True)), np.float64)

    def normalize_derivatives(
        self, xy: Float[np.ndarray, "*b 2"]
    ) -> tuple[Float64[np.ndarray, "*b 2"], Float64[np.ndarray, "*b 2"]]:
        """Differentiate `normalize` by the log focal length and by the radial term."""
        centred = (xy - self.centre) / self.focals
        squared = (centred**2).sum(-1, keepdims=True)
        return -centred * (1 + 3 * self.radial * squared), centred * squared

    def undistort(self, xy: Float[np.ndarray, "*b 2"]) -> Float64[np.ndarray, "*b 2"]:
        """Move network pixels to where a pinhole of the same focal length would see them."""
        return np.asarray(self.normalize(xy) * self.focals + self.centre)

    def distort(self, xy: Float[np.ndarray, "*b 2"]) -> Float64[np.ndarray, "*b 2"]:
        """Undo `undistort`, by fixed-point iteration (the radial term of a photograph is small)."""
        undistorted = (np.asarray(xy, np.float64) - self.centre) / self.focals
        centred = undistorted
        for _ in range(8):
            centred = undistorted / (1 + self.radial * (centred**2).sum(-1, keepdims=True))
        return np.asarray(centred * self.focals + self.centre)

    def rays(self) -> Float32[np.ndarray, "h w 3"]:
        """Give the viewing rays of all network pixels, scaled to z = 1."""
        x, y = ((np.arange(self.size[axis]) + 0.5 - self.centre[axis]) / self.focals[axis] for axis in (0, 1))
        factor = (1 + self.radial * (x**2 + y[:, None] ** 2)).astype(np.float32)
        return np.stack(
            [x.astype(np.float32) * factor, y[:, None].astype(np.float32) * factor, np.ones_like(factor)], -1
        )
