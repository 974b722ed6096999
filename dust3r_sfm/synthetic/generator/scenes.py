"""Many scenes at once as flat tensors: what the ray caster reads."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

NUM_BOXES, NUM_ELLIPSOIDS, NUM_CYLINDERS = 16, 8, 8
NUM_OBJECTS = NUM_BOXES + NUM_ELLIPSOIDS + NUM_CYLINDERS
NUM_FACES = 6
FLOOR = NUM_OBJECTS + 4
"""Surface number of the shell's floor: its faces follow the objects as -x… in the order +x -x +y -y -z +z."""
NUM_SURFACES = NUM_OBJECTS + NUM_FACES
NUM_WAVES = 3
"""Waves that make a hilly floor: chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """A batch of scenes in metres, z up, the floor at z = 0.

    Every scene is a shell (a box seen from inside, some of whose faces are open to the sky), a relief on its floor, and
    boxes, ellipsoids and cylinders, in this order. An object is the unit shape (|x|, |y|, |z| <= 1; the unit ball; the
    cylinder of radius 1 and |z| <= 1) in its own frame.

    Attributes:
        unit_from_world: frame of each object.
        is_present: objects that the scene has; at least one.
        half_size: metres in a unit along its axes.
        shell_from_world: the same of the shell.
        shell_half_size: metres in its units.
        is_open: faces of the shell that show the sky.
        waves: the floor is at Σ amplitude · (1 + sin(kx · x + ky · y + phase)); rows kx, ky, phase, amplitude.
        texture: picture of each surface (objects, then faces).
        density: texels per metre.
        shift: texture coordinates of its origin, in texels.
        gain, bias: colour = bias + gain · picture.
        gloss: strength of the highlight.
        light: a point; outdoors far away.
        sun, ambient: colours of direct and of all other light.
        sky: colours at the horizon and overhead.
    """

    unit_from_world: Float64[Tensor, "s k 3 4"]
    is_present: Bool[Tensor, "s k"]
    half_size: Float64[Tensor, "s k 3"]
    shell_from_world: Float64[Tensor, "s 3 4"]
    shell_half_size: Float64[Tensor, "s 3"]
    is_open: Bool[Tensor, "s 6"]
    waves: Float64[Tensor, "s w 4"]
    texture: Int64[Tensor, "s m"]
    density: Float64[Tensor, "s m"]
    shift: Float64[Tensor, "s m 2"]
    gain: Float64[Tensor, "s m 3"]
    bias: Float64[Tensor, "s m 3"]
    gloss: Float64[Tensor, "s m"]
    light: Float64[Tensor, "s 3"]
    sun: Float64[Tensor, "s 3"]
    ambient: Float64[Tensor, "s 3"]
    sky: Float64[Tensor, "s 2 3"]

    def __len__(self) -> int:
        return len(self.light)

    def select(self, index: Int64[Tensor, " c"]) -> "Scenes":
        """Scenes by number, repeats allowed: one per camera."""
        return Scenes(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def to(self, device: torch.device) -> "Scenes":
        """The same on a device."""
        return Scenes(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})
