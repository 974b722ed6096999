"""What the verb says before it serves, and when it cannot."""

import builtins
import socket

import pytest

from dust3r_sfm.cli import main
from dust3r_sfm.errors import InputError
from dust3r_sfm.web.command import _addresses, _listen


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "viser"])
def test_without_the_extra_a_sentence_names_it(missing, monkeypatch, capsys, tmp_path):
    real = builtins.__import__

    def without(name, *others, **named):
        if name == missing:
            raise ImportError(name=name)
        return real(name, *others, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["web", "--folder", str(tmp_path / "data")]) == 1
    said = capsys.readouterr().err
    assert said == f"dust3r-sfm: The page needs {missing}, which is not installed: pip install 'dust3r_sfm[web]'.\n"
    assert not (tmp_path / "data").exists()


def test_a_taken_port_and_a_strange_host_get_sentences():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} \(Address already in use\); choose another --port"):
            _listen("127.0.0.1", port)
    with pytest.raises(InputError, match=r"Nothing can listen on no\.such\.host\.invalid, port 0"):
        _listen("no.such.host.invalid", 0)


def test_only_open_servers_print_a_token():
    (here, _), (over, _) = _addresses("127.0.0.1", 8090, None)
    assert (here, over) == ("open", "over ssh")
    assert _addresses("127.0.0.1", 8090, None)[0][1].startswith("http://localhost:8090 ")
    assert _addresses("::1", 8090, None)[0][1].startswith("http://[::1]:8090 ")
    assert _addresses("10.0.0.7", 8090, "abc")[0][1].startswith("http://10.0.0.7:8090/?token=abc ")
    assert f"http://{socket.gethostname()}:8090/?token=abc " in _addresses("0.0.0.0", 8090, "abc")[0][1]
