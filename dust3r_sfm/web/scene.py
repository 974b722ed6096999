"""The finished model as one page that needs no server: viser's own client with the scene inside."""

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.report.model import read_drawn
from dust3r_sfm.system.files import write_text
from dust3r_sfm.viewing import open_viewer, origin_of

if TYPE_CHECKING:
    import viser

_LIGHT = "{darkMode:false}"
_AS_THE_SYSTEM = '{darkMode:matchMedia("(prefers-color-scheme: dark)").matches}'
"""How viser's page is told its colours, and how it is told to follow the reader's."""

_MAX_POINTS, _MAX_FACES = 400_000, 400_000
"""Of the dense cloud and the mesh in the page, some 10 MB each; chosen by hand."""

_POINT_OF_SIZE = 0.005
"""Size of a point of the cloud over that of the model; chosen by hand."""


def write_viewer(run: Path, path: Path) -> None:
    """Write the model of a run as a page that can be turned, zoomed and sent on.

    Args:
        run: output folder of a run; where it has a dense cloud and a mesh, the page has them, the mesh hidden at first,
            because browsers without a graphics card take seconds for each of its frames.
        path: of the page.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # viser prints where it would listen
        server = open_viewer(run, port=0)
        try:
            origin = origin_of(read_drawn(run / "sparse" / "0"))
            if (run / "fused.ply").is_file():
                _add_cloud(server, run / "fused.ply", origin)
            if (run / "mesh.ply").is_file():
                _add_mesh(server, run / "mesh.ply", origin)
            page = server.get_scene_serializer().as_html()
        finally:
            server.stop()
    write_text(path, page.replace(_LIGHT, _AS_THE_SYSTEM))


def _add_cloud(server: "viser.ViserServer", path: Path, origin: Float64[np.ndarray, " 3"]) -> None:
    import trimesh

    cloud = trimesh.load(path, process=False)
    xyz, rgb = np.asarray(cloud.vertices) - origin, np.asarray(cloud.colors)[:, :3]
    step = max(len(xyz) // _MAX_POINTS, 1)
    size = float(np.median(np.linalg.norm(xyz, axis=1))) or 1.0
    server.scene.add_point_cloud(
        "/dense cloud", xyz[::step], rgb[::step], point_size=_POINT_OF_SIZE * size, precision="float32"
    )


def _add_mesh(server: "viser.ViserServer", path: Path, origin: Float64[np.ndarray, " 3"]) -> None:
    import trimesh

    mesh = trimesh.load_mesh(path, process=False)
    if len(mesh.faces) <= _MAX_FACES:
        mesh.vertices = np.asarray(mesh.vertices) - origin
        server.scene.add_mesh_trimesh("/mesh", mesh, visible=False, cast_shadow=False, receive_shadow=False)
