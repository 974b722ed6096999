"""`dust3r-sfm web`: the page where photographs are dropped."""

import contextlib
import os
import secrets
import socket
from pathlib import Path

from dust3r_sfm.errors import InputError
from dust3r_sfm.options import PredictorOptions


def command(
    predictor: PredictorOptions,
    folder: Path = Path("dust3r-sfm-web"),
    host: str = "127.0.0.1",
    port: int = 8090,
    max_gigabytes: float = 2.0,
    max_files: int = 1000,
) -> None:
    """Serve a page where photographs or videos are dropped and models come out.

    Args:
        predictor: Which predictor.
        folder: Data folder: photographs, runs and models, a folder for each job.
        host: Address to listen on; 0.0.0.0 lets other machines in, who then need the token in the printed address.
        port: Port to listen on.
        max_gigabytes: What the files of one job may have together, in 10^9 bytes.
        max_files: How many files one job may have.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn
        import viser  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"The page needs {error.name}, which is not installed: pip install 'dust3r_sfm[web]'."
        ) from error
    from dust3r_sfm.web.gate import is_loopback
    from dust3r_sfm.web.server import Settings, create_app
    from dust3r_sfm.web.uploads import Limits

    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    listener = _listen(host, port)
    with contextlib.closing(listener):
        port = listener.getsockname()[1]
        limits = Limits(size=round(max_gigabytes * 1e9), num_files=max_files)
        app = create_app(Settings(folder=folder, host=host, port=port, token=token, limits=limits, predictor=predictor))
        for name, address in _addresses(host, port, token):
            print(f"{name:<20}{address}", flush=True)
        config = uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=3)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        # Python adds the address to the text of the error, resolvers have numbers of their own.
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise InputError(
            f"Nothing can listen on {host}, port {port} ({reason}); choose another --port or --host."
        ) from error


def _addresses(host: str, port: int, token: str | None) -> list[tuple[str, str]]:
    """What to open, and how to come from another machine."""
    if token is None:
        name = f"[{host}]" if ":" in host else "localhost" if host == "127.0.0.1" else host
        return [
            ("open", f"http://{name}:{port}   (Ctrl-C ends it)"),
            ("over ssh", f"ssh -L {port}:localhost:{port} THIS_MACHINE, then the same address"),
        ]
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return [
        ("open", f"http://{name}:{port}/?token={token}   (Ctrl-C ends it)"),
        ("note", "whoever has this address sees and changes everything here; nothing is encrypted on the way"),
    ]
