"""`dust3r-sfm view OUT`: the model in a web browser, also over ssh (viser, https://viser.studio)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.pinhole import unproject
from dust3r_sfm.geometry.transforms import apply, centres, invert
from dust3r_sfm.images.colour_maps import confidence_colours
from dust3r_sfm.images.load import load_pixels
from dust3r_sfm.report.maps import photograph
from dust3r_sfm.report.model import Model, read_drawn
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.types import Scene

if TYPE_CHECKING:
    import viser

_FRUSTUM_OF_SIZE = 0.05
"""Length of a frustum over the size of the model; chosen by hand."""
_THUMBNAIL_PX = 256
"""Width of the photographs in the frusta; chosen by hand."""
_MAP_POINTS = 400_000
"""Points of all depth maps that are shown at once; chosen by hand."""
_NOTHING, _EVERY = "none", "all"


def open_viewer(
    out: Path, host: str = "127.0.0.1", port: int = 8080, image_root: Path | None = None
) -> "viser.ViserServer":
    """Serve a run, or any COLMAP model, to a web browser.

    Args:
        out: output folder of a run, or the folder of a COLMAP model (then without photographs, depth and pairs).
        host: address to listen on; the default is reached from this machine and through an ssh tunnel only.
        port: port to listen on; the next free one is taken when it is in use.
        image_root: where the photographs are now, if they moved.

    Returns:
        The running server; it stops with the program.

    Raises:
        InputError: viser is not installed, or there is no model.
    """
    try:
        import viser
    except ImportError as error:
        raise InputError("Looking at a model needs viser; install it with pip install 'dust3r_sfm[view]'.") from error
    is_run = (out / "scene.h5").is_file()
    scene = read_scene(out / "scene.h5", image_root) if is_run else None
    model = read_drawn(out / "sparse" / "0" if is_run else out, scene)
    server = viser.ViserServer(host=host, port=port, verbose=False)
    _Stage(server, model, scene).show()
    return server


def origin_of(model: Model) -> Float64[np.ndarray, " 3"]:
    """The point of the world that is the viewer's origin: browsers compute in single precision."""
    middle: Float64[np.ndarray, " 3"]
    middle = np.median(model.xyz, axis=0) if len(model.xyz) else centres(model.cam_from_world).mean(axis=0)
    return middle


class _Stage:
    """Everything that stands in the browser, and the controls that change it."""

    def __init__(self, server: "viser.ViserServer", model: Model, scene: Scene | None) -> None:
        self.server, self.model, self.scene = server, model, scene
        self.origin = origin_of(model)
        spread = np.linalg.norm(centres(model.cam_from_world) - self.origin, axis=1)
        self.size = float(np.median(spread)) or 1.0
        self.maps: list[Any] = []
        self.pairs: Any = None

    def show(self) -> None:
        """Build the stage, and stand behind and a little above the cameras."""
        _, forward, up = self.model.level_from_world()
        eyes = centres(self.model.cam_from_world).mean(axis=0) - self.origin
        self.server.scene.set_up_direction(up)
        self.server.initial_camera.up = up
        self.server.initial_camera.position = eyes + self.size * (0.5 * up - 0.8 * forward)
        self.server.initial_camera.look_at = np.zeros(3)
        self._show_points()
        self._show_cameras()
        if self.scene is not None:
            self._show_pairs(self.scene)
            self._offer_maps(self.scene)

    def _show_points(self) -> None:
        cloud = self.server.scene.add_point_cloud(
            "/points", self.model.xyz - self.origin, self.model.rgb, point_size=0.004 * self.size, precision="float32"
        )
        visible = self.server.gui.add_checkbox("points", True)
        size = self.server.gui.add_slider("point size", 0.1, 5.0, 0.1, 1.0)

        def change(_: Any) -> None:
            cloud.visible, cloud.point_size = visible.value, 0.004 * self.size * size.value

        visible.on_update(change)
        size.on_update(change)

    def _show_cameras(self) -> None:
        views = {view.name: view for view in self.scene.views} if self.scene is not None else {}
        world_from_cam = invert(self.model.cam_from_world)
        quaternions = _quaternions(world_from_cam[:, :, :3])
        frusta = []
        for index, name in enumerate(self.model.names):
            width, height = self.model.half_fields[index]
            frustum = self.server.scene.add_camera_frustum(
                f"/cameras/{name}",
                fov=float(2 * np.arctan(height)),
                aspect=float(width / height),
                scale=_FRUSTUM_OF_SIZE * self.size,
                color=(37, 99, 168),
                image=photograph(views[name], _THUMBNAIL_PX) if name in views else None,
                wxyz=quaternions[index],
                position=world_from_cam[index, :, 3] - self.origin,
            )
            frustum.on_click(_stand_where_clicked)
            frusta.append(frustum)
        visible = self.server.gui.add_checkbox("cameras", True)

        def change(_: Any) -> None:
            for frustum in frusta:
                frustum.visible = visible.value

        visible.on_update(change)

    def _show_pairs(self, scene: Scene) -> None:
        visible = self.server.gui.add_checkbox("pairs", False)
        least = self.server.gui.add_slider("least pair weight", 0.0, 1.0, 0.05, 0.1)
        placed = scene.registered[scene.edges].all(axis=1)
        ends = centres(scene.cam_from_world)[scene.edges] - self.origin

        def change(_: Any) -> None:
            if self.pairs is not None:
                self.pairs.remove()
                self.pairs = None
            chosen = placed & (scene.edge_weights >= least.value)
            if visible.value and chosen.any():
                share = scene.edge_weights[chosen][:, None, None]
                colours = np.round(share * (37, 99, 168) + (1 - share) * (234, 88, 12)).astype(np.uint8)
                self.pairs = self.server.scene.add_line_segments("/pairs", ends[chosen], np.repeat(colours, 2, axis=1))

        visible.on_update(change)
        least.on_update(change)

    def _offer_maps(self, scene: Scene) -> None:
        placed = [name for name, registered in zip(scene.names, scene.registered, strict=True) if registered]
        chosen = self.server.gui.add_dropdown("depth map", (_NOTHING, _EVERY, *placed), initial_value=_NOTHING)
        least = self.server.gui.add_slider("least confident percent hidden", 0, 95, 5, 20)
        paint = self.server.gui.add_checkbox("colour by confidence", False)

        def change(_: Any) -> None:
            for handle in self.maps:
                handle.remove()
            names = placed if chosen.value == _EVERY else [name for name in placed if name == chosen.value]
            self.maps = [self._add_map(scene, name, float(least.value), paint.value, len(names)) for name in names]

        for control in (chosen, least, paint):
            control.on_update(change)

    def _add_map(self, scene: Scene, name: str, percentile: float, by_confidence: bool, num_maps: int) -> Any:
        index = scene.names.index(name)
        xyz, rgb = depth_points(scene, index, percentile, by_confidence)
        step = max(len(xyz) * num_maps // _MAP_POINTS, 1)
        return self.server.scene.add_point_cloud(
            f"/depth/{name}", xyz[::step] - self.origin, rgb[::step], point_size=0.003 * self.size, precision="float32"
        )


def depth_points(
    scene: Scene, index: int, percentile: float = 0.0, by_confidence: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of an image as points in the world.

    Args:
        scene: an aligned scene.
        index: of the image.
        percentile: known pixels below this percentile of their confidence are left out.
        by_confidence: colours say how confident a point is (bright: very) instead of what the photograph shows.

    Returns:
        xyz (p, 3) and rgb (p, 3).
    """
    depth, confidence = scene.depths[index], scene.confidences[index]
    known = depth > 0
    if known.any():
        known &= confidence >= np.percentile(confidence[known], percentile)
    xyz = apply(invert(scene.cam_from_world[index]), unproject(depth, scene.intrinsics[index])[known])
    if not by_confidence:
        return xyz, load_pixels(scene.views[index])[known]
    return xyz, confidence_colours(confidence)[known]


def _stand_where_clicked(event: Any) -> None:
    event.client.camera.wxyz, event.client.camera.position = event.target.wxyz, event.target.position


def _quaternions(rotations: np.ndarray) -> np.ndarray:
    """Rotation matrices (n, 3, 3) as wxyz quaternions (n, 4)."""
    from scipy.spatial.transform import Rotation

    quaternions: np.ndarray = Rotation.from_matrix(rotations).as_quat(scalar_first=True)
    return quaternions
