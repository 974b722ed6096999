"""What is dropped is taken within limits, under names that are safe, and only if it can be used."""

import cv2
import numpy as np
import pytest

from dust3r_sfm.web.uploads import safe_name


def put(client, job, name, content):
    return client.put(f"/api/jobs/{job}/files", params={"file": name}, content=content)


def files(settings, job):
    return sorted(
        path.relative_to(settings.folder / job).as_posix()
        for path in (settings.folder / job).rglob("*")
        if path.is_file() and path.name != "job.json"
    )


def test_photographs_arrive_as_they_are(client, job, photograph, settings):
    assert put(client, job, "a.jpg", photograph(1)).status_code == 201
    assert (settings.folder / job / "photographs" / "a.jpg").read_bytes() == photograph(1)
    assert files(settings, job) == ["photographs/a.jpg"]


def test_a_text_called_jpg_gets_a_sentence_and_the_others_go_on(client, job, photograph, settings):
    put(client, job, "a.jpg", photograph(1))
    refused = put(client, job, "text.jpg", b"hello")
    assert refused.status_code == 415
    assert "text.jpg was left out: it is not an image" in refused.json()["sentence"]
    assert put(client, job, "b.jpg", photograph(2)).status_code == 201
    assert files(settings, job) == ["photographs/a.jpg", "photographs/b.jpg"]
    (shown,) = client.get("/api/jobs").json()["jobs"]
    assert shown["files"] == ["a.jpg", "b.jpg"]
    assert shown["refused"] == [refused.json()["sentence"]]


@pytest.mark.parametrize("name", ["notes.txt", "model.ply", "run.sh", "jpg", ""])
def test_other_kinds_get_a_sentence(client, job, photograph, name):
    answer = put(client, job, name, photograph(1))
    assert answer.status_code == 415
    assert "neither a photograph nor a video" in answer.json()["sentence"]


def test_a_damaged_photograph_gets_a_sentence(client, job, photograph):
    answer = put(client, job, "a.jpg", photograph(1)[:-300])
    assert answer.status_code == 415
    assert "damaged or cut short" in answer.json()["sentence"]


def test_too_many_files(client, job, photograph, settings):
    for number in range(5):
        assert put(client, job, f"{number}.jpg", photograph(number)).status_code == 201
    answer = put(client, job, "6.jpg", photograph(6))
    assert answer.status_code == 413
    assert "more than the 5 files" in answer.json()["sentence"]
    assert len(files(settings, job)) == 5


def test_too_much_is_refused_before_it_is_sent(client, job, settings):
    sent = []

    def chunks():
        for _ in range(300):
            sent.append(1)
            yield b"x" * 1000

    answer = client.put(
        f"/api/jobs/{job}/files", params={"file": "a.jpg"}, content=chunks(), headers={"Content-Length": "2200000000"}
    )
    assert answer.status_code == 413
    assert "more than the 2e-05 GB" in answer.json()["sentence"]
    assert files(settings, job) == []


def test_too_much_is_noticed_while_it_streams(client, job, settings):
    answer = put(client, job, "a.jpg", (b"x" * 1000 for _ in range(30)))
    assert answer.status_code == 413
    assert "--max-gigabytes" in answer.json()["sentence"]
    assert files(settings, job) == []


def test_the_limit_is_of_all_files_together(client, job, photograph, settings):
    content = photograph(1)
    assert put(client, job, "a.jpg", content).status_code == 201
    answer = put(client, job, "b.jpg", photograph(2) + bytes(20_001 - len(content) - len(photograph(2))))
    assert answer.status_code == 413
    assert put(client, job, "b.jpg", photograph(2)).status_code == 201


def test_one_file_twice(client, job, photograph, settings):
    put(client, job, "a.jpg", photograph(1))
    again = put(client, job, "a.jpg", photograph(1))  # after a broken connection
    assert (again.status_code, again.json()["name"]) == (201, "a.jpg")
    other = put(client, job, "b.jpg", photograph(1))
    assert other.json()["sentence"] == "b.jpg was left out: it has the same bytes as a.jpg."
    assert put(client, job, "A.JPG", photograph(2)).json()["name"] == "A-2.JPG"
    assert files(settings, job) == ["photographs/A-2.JPG", "photographs/a.jpg"]


def test_names_stay_in_the_folder(client, job, photograph, settings, tmp_path):
    for number, name in enumerate(["../../up.jpg", "/etc/passwd.jpg", "C:\\Users\\me\\w.jpg", ".hidden.jpg"]):
        assert put(client, job, name, photograph(number)).status_code == 201
    assert files(settings, job) == [f"photographs/{name}" for name in ("hidden.jpg", "passwd.jpg", "up.jpg", "w.jpg")]
    assert not list(tmp_path.glob("*.jpg"))


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("IMG_0001.JPG", "IMG_0001.JPG"),
        ("Fuß 東京 é.jpg", "Fuß_東京_é.jpg"),
        ("a\nb\t\x00c.jpg", "abc.jpg"),
        ("IMG (1).jpg", "IMG_(1).jpg"),
        ("a:b*c?.jpg", "a_b_c_.jpg"),
        ("folder/", "folder"),
        ("..", "file"),
        ("", "file"),
        ("\u202egpj.exe", "gpj.exe"),
        ("x" * 300 + ".jpeg", "x" * 115 + ".jpeg"),
        ("字" * 100 + ".jpg", "字" * 38 + ".jpg"),
    ],
)
def test_safe_names(given, safe):
    assert safe_name(given) == safe
    assert safe_name(safe) == safe


def test_videos(client, job, tmp_path, settings):
    video = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for value in (0, 100, 200):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    assert put(client, job, "walk.avi", video.read_bytes()).json()["is_video"]
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    answer = put(client, job, "list.mp4", playlist)
    assert answer.json()["sentence"] == "list.mp4 was left out: it is not a video, whatever its name says."
    answer = put(client, job, "cut.mp4", b"\0\0\0\x20ftypisom" + bytes(100))
    assert answer.json()["sentence"] == "cut.mp4 was left out: OpenCV cannot read it: convert it to MP4."
    assert files(settings, job) == ["videos/walk.avi"]


def test_nothing_is_added_to_a_job_that_has_begun(client, job, photograph):
    for number in range(2):
        put(client, job, f"{number}.jpg", photograph(number))
    assert client.post(f"/api/jobs/{job}/start").status_code == 200
    assert put(client, job, "late.jpg", photograph(3)).status_code == 409


def test_two_photographs_are_needed(client, job, photograph):
    put(client, job, "a.jpg", photograph(1))
    answer = client.post(f"/api/jobs/{job}/start")
    assert (answer.status_code, answer.json()["sentence"]) == (
        409,
        "A model needs at least two overlapping photographs, or a video.",
    )
