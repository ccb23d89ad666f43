"""Artifacts of CI, also those that somebody made to do harm."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from pytest_trt.baseline import artifacts
from pytest_trt.baseline.artifacts import open_artifact
from pytest_trt.diagnostics import BaselineError

NAME, CONTENT = "sm90/tests/test_a.json", b"{}"


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def tarred(path: Path, *members: tarfile.TarInfo | str, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            if info.isreg():
                info.size = len(CONTENT)
            archive.addfile(info, io.BytesIO(CONTENT))
    return path


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def of_mode(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def contents(path: Path) -> dict[str, bytes]:
    with open_artifact(path) as files:
        return {name: read() for name, read in files.items()}


def refused(path: Path, code: str = "TRT653") -> str:
    with pytest.raises(BaselineError) as caught:
        contents(path)
    assert caught.value.diagnostic.code == code
    return caught.value.message


def test_folder_is_read(tmp_path) -> None:
    (tmp_path / NAME).parent.mkdir(parents=True)
    (tmp_path / NAME).write_bytes(CONTENT)
    assert contents(tmp_path) == {NAME: CONTENT}


def test_zip_is_read_as_ci_systems_write_it(tmp_path) -> None:
    folder, file = of_mode("sm90/", stat.S_IFDIR | 0o755), of_mode(NAME, stat.S_IFREG | 0o644)
    path = zipped(tmp_path / "a.zip", (folder, b""), ("plain/", b""), (file, CONTENT), ("b", b"1"))
    assert contents(path) == {NAME: CONTENT, "b": b"1"}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tar_is_read_as_tar_writes_it(tmp_path, mode) -> None:
    folder = tarfile.TarInfo("./sm90")
    folder.type = tarfile.DIRTYPE
    path = tarred(tmp_path / "a", special(".", tarfile.DIRTYPE), folder, f"./{NAME}", mode=mode)
    assert contents(path) == {NAME: CONTENT}


HOSTILE_NAMES = [
    "/etc/x.json",
    "../x.json",
    "a/../../x.json",
    "a//x.json",
    "a/./x.json",
    "a\\..\\x.json",
    "C:/x.json",
    "a/\x1b[2Jx.json",
    "a/\u202ex.json",
    "a" * 300,
    "/".join("abcd" * 300),
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_name_that_leads_elsewhere_is_refused_with_all_else(tmp_path, name, kind) -> None:
    if kind == "zip":
        path = zipped(tmp_path / "a.zip", (NAME, CONTENT), (name, CONTENT))
    else:
        path = tarred(tmp_path / "a.tar", NAME, name)
    assert "is not the name of a file inside it" in refused(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_zip_with_anything_but_files_is_refused(tmp_path, kind) -> None:
    path = zipped(tmp_path / "a.zip", (NAME, CONTENT), (of_mode("link.json", kind | 0o777), b"/x"))
    assert "link.json is not a regular file" in refused(path)


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE],
)
def test_tar_with_anything_but_files_is_refused(tmp_path, kind) -> None:
    path = tarred(tmp_path / "a.tar", NAME, special("link.json", kind))
    assert "link.json is not a regular file" in refused(path)


@pytest.mark.parametrize("make", ["link", "folder link", "pipe"])
def test_folder_with_anything_but_files_is_refused(tmp_path, make) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.json").write_bytes(CONTENT)
    folder = tmp_path / "artifact"
    folder.mkdir()
    if make == "pipe":
        os.mkfifo(folder / "x.json")
    else:
        (folder / "x.json").symlink_to(outside if make == "folder link" else outside / "x.json")
    assert "x.json is not a regular file" in refused(folder)


def test_link_that_took_the_place_of_a_file_is_not_followed(tmp_path) -> None:
    folder, secret = tmp_path / "artifact", tmp_path / "secret"
    folder.mkdir()
    secret.write_bytes(CONTENT)
    (folder / "x.json").write_bytes(CONTENT)
    with open_artifact(folder) as files:
        (folder / "x.json").unlink()
        (folder / "x.json").symlink_to(secret)
        with pytest.raises(BaselineError) as caught:
            files["x.json"]()
    assert caught.value.diagnostic.code == "TRT654"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice_is_refused(tmp_path) -> None:
    path = zipped(tmp_path / "a.zip", (NAME, CONTENT), (NAME, b"[]"))
    assert f"{NAME} occurs twice" in refused(path)
    assert f"{NAME} occurs twice" in refused(tarred(tmp_path / "a.tar", NAME, NAME))


@pytest.mark.parametrize(
    ("limit", "most"), [("MAX_FILE_BYTES", 1), ("MAX_TOTAL_BYTES", 3), ("MAX_FILES", 1)]
)
def test_sizes_are_limited(tmp_path, monkeypatch, limit, most) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "a.json").write_bytes(CONTENT)
    (folder / "b.json").write_bytes(CONTENT)
    assert len(contents(folder)) == 2
    monkeypatch.setattr(artifacts, limit, most)
    assert "exceeds" in refused(folder)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_what_decompresses_to_more_is_refused_before_it_is_read(
    tmp_path, monkeypatch, kind
) -> None:
    monkeypatch.setattr(artifacts, "MAX_TOTAL_BYTES", 50_000)
    bomb = b"\0" * 1_000_000
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        zipped(path, ("bomb.json", bomb))
    else:
        path.write_bytes(gzip.compress(bomb))
    assert path.stat().st_size < 5_000
    assert "50,000 bytes" in refused(path)


def test_zip_that_declares_another_size_is_refused(tmp_path) -> None:
    path = zipped(tmp_path / "a.zip", (NAME, b"1" * 70))
    whole = path.read_bytes()
    at = whole.index(b"PK\x01\x02") + 24  # the central directory's uncompressed size
    path.write_bytes(whole[:at] + (80).to_bytes(4, "little") + whole[at + 4 :])
    refused(path, "TRT654")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x1f\x8b no gzip", b"text" * 300])
def test_other_files_cannot_be_read(tmp_path, content) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    refused(path, "TRT654")
    refused(tmp_path / "none", "TRT654")


def test_pipe_in_place_of_an_archive_is_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "a.zip")
    refused(tmp_path / "a.zip", "TRT654")
