"""The finished model as one page that needs no server: viser's own client with the scene inside."""

import contextlib
import io
from pathlib import Path

from dust3r_sfm.system.files import write_text
from dust3r_sfm.viewing import open_viewer


def write_viewer(run: Path, path: Path) -> None:
    """Write the model of a run as a page that can be turned, zoomed and sent on.

    Args:
        run: output folder of a run.
        path: of the page.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # viser prints where it would listen
        server = open_viewer(run, port=0)
        try:
            page = server.get_scene_serializer().as_html()
        finally:
            server.stop()
    write_text(path, page)
