"""Loading of a photograph for the stereo: grey, without radial distortion, with what is usable."""

import cv2
import numpy as np

from dust3r_sfm.geometry.pinhole import pixel_grid
from dust3r_sfm.images.load import load_mask, load_pixels
from dust3r_sfm.predictors.classical.flow import Picture
from dust3r_sfm.predictors.classical.lens import Lens
from dust3r_sfm.types import View


def load_picture(view: View, lens: Lens) -> Picture:
    """Load a photograph on its network grid and remove its lens' radial distortion."""
    grey = cv2.cvtColor(load_pixels(view), cv2.COLOR_RGB2GRAY)
    mask = load_mask(view)
    usable = np.ones(grey.shape, bool) if mask is None else mask
    if lens.radial:
        width, height = lens.size
        at = lens.distort(pixel_grid(height, width)).astype(np.float32) - np.float32(0.5)
        grey = cv2.remap(grey, at[..., 0], at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        usable = cv2.remap(usable.astype(np.uint8), at[..., 0], at[..., 1], cv2.INTER_NEAREST, borderValue=0) > 0
    return Picture(grey=grey, usable=usable)
