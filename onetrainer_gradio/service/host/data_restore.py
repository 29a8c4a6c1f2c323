"""Restore a backup of a data folder into an empty folder: verify everything first, then put it in place at once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from onetrainer_gradio.engine.staging import UNFINISHED, staged, tidy_up
from onetrainer_gradio.errors import ArchiveError, DataVersionError, PathExistsError, PathNotFoundError
from onetrainer_gradio.service.host.atomic import raising_storage_error
from onetrainer_gradio.service.host.data_backup import CHUNK_BYTES, FORMAT, HEADER, MANIFEST, Progress, check_space
from onetrainer_gradio.service.host.data_version import MIGRATIONS

_MAX_DOCUMENT_BYTES = 1 << 30
_MAX_HEADER_BYTES = 1 << 20
# Device names and characters that name something else, or nothing, on Windows.
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))})
# Files with absolute paths to the data folder. Those in workspaces aren't changed, because runs record their sizes.
_WITH_PATHS = (".json", ".jsonl")


@dataclass(frozen=True)
class RestoreReport:
    """What was restored. ``moved_from`` is the former data folder if paths that lead there were changed."""

    files: int
    bytes: int
    at: float
    moved_from: str
    without: tuple[str, ...]


def restore(source: Path | BinaryIO, data: Path, *, progress: Progress = lambda done, total: None) -> RestoreReport:
    """Restore a backup into ``data``, which must be empty or missing. If anything is wrong, ``data`` stays as it is.

    :raises PathNotFoundError: if the backup doesn't exist.
    :raises PathExistsError: if the folder isn't empty.
    :raises ArchiveError: if the file isn't a complete, undamaged and safe backup.
    :raises DataVersionError: if a newer version made the backup.
    :raises StorageError: if there is no space, or nothing can be written.
    """
    if data.is_symlink() or (data.exists() and not data.is_dir()):
        raise PathExistsError(f"{data} already exists and isn't a folder.", suggestion="Choose another folder with --data.")
    if not is_empty(data):
        raise PathExistsError(
            f"The folder {data} isn't empty.", suggestion="Restore into a new folder, or move its content away first."
        )
    with contextlib.ExitStack() as opened:
        if isinstance(source, Path):
            if not source.is_file():
                raise PathNotFoundError(f"The backup {source} doesn't exist.")
            with raising_storage_error(str(source)):
                source = opened.enter_context(open(source, "rb"))
        with raising_storage_error(f"the data folder {data}"), staging_folder(data) as staging:
            report = _extract(source, staging, data, progress)
            put_in_place(staging, data)
    return report


def is_empty(data: Path) -> bool:
    """Return whether a data folder is missing or empty. Files that a killed restore left don't count."""
    try:
        names = os.listdir(data)
    except (FileNotFoundError, NotADirectoryError):
        return True
    return all(name == "lost+found" or name.startswith(UNFINISHED) for name in names)


@contextlib.contextmanager
def staging_folder(data: Path) -> Iterator[Path]:
    """Provide a folder on the disk of the data folder, which is deleted after the block unless it was moved.

    Those of killed processes are deleted first: a container that restarts during each restore would fill its disk otherwise.
    """
    # A mount point can't be replaced, and a user who may write in it may not be allowed to write next to it.
    inside = data.is_dir() and (os.path.ismount(data) or not os.access(data.parent, os.W_OK))
    parent = data if inside else data.parent
    tidy_up(parent)
    with staged(data, parent=parent) as folder:
        folder.mkdir()
        yield folder


def put_in_place(staging: Path, data: Path, last: str = "") -> None:
    """Move restored files to an empty data folder: all at once, or one by one where it is a mount point, ``last`` at the end."""
    if staging.is_relative_to(data):
        for name in sorted(os.listdir(staging), key=lambda name: (name == last, name)):
            os.rename(staging / name, data / name)
        return
    if data.is_dir():
        shutil.copymode(data, staging)
        data.rmdir()
    os.rename(staging, data)


def _extract(file: BinaryIO, staging: Path, data: Path, progress: Progress) -> RestoreReport:
    try:
        with tarfile.open(fileobj=file, mode="r|*", bufsize=CHUNK_BYTES) as archive:
            header = _header(archive)
            check_space(staging, header["total_bytes"], "the restored folder")
            found, manifest = _extract_members(archive, staging, header["total_bytes"], progress)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ArchiveError(f"The backup is damaged or incomplete: {error}.", suggestion="Use another backup.") from error
    _verify(found, manifest)
    for entry in manifest:
        path = staging / entry["name"]
        os.chmod(path, entry["mode"] | 0o600)
    moved_from = header["data_folder"] if header["data_folder"] not in ("", str(data)) else ""
    for entry in manifest:
        path = staging / entry["name"]
        if moved_from:
            change_paths(path, entry["name"], moved_from, str(data))
    for entry in manifest:
        os.utime(staging / entry["name"], ns=(entry["mtime_ns"], entry["mtime_ns"]))
    return RestoreReport(
        files=len(manifest),
        bytes=sum(entry["bytes"] for entry in manifest),
        at=header["at"],
        moved_from=moved_from,
        without=header["without"],
    )


def _header(archive: tarfile.TarFile) -> dict[str, Any]:
    first = archive.next()
    if first is None or first.name != HEADER or not first.isreg() or first.size > _MAX_HEADER_BYTES:
        raise ArchiveError("The file isn't a backup of a data folder.", suggestion="Choose a file that “backup” wrote.")
    document = _document(archive, first)
    try:
        header: dict[str, Any] = {
            "format": int(document["format"]),
            "data_version": int(document["data_version"]),
            "total_bytes": max(0, int(document["total_bytes"])),
            "data_folder": str(document["data_folder"]),
            "at": float(document["at"]),
            "without": tuple(map(str, document["without"])),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveError("The description of the backup is damaged.", suggestion="Use another backup.") from error
    if header["format"] > FORMAT or header["data_version"] > len(MIGRATIONS):
        raise DataVersionError(
            f"The backup was made by a newer version ({str(document.get('program'))[:60]}).",
            suggestion="Install that version and restore with it.",
        )
    return header


def _document(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    content = archive.extractfile(member)
    try:
        return json.loads(content.read()) if content is not None else None
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{member.name} in the backup is damaged.", suggestion="Use another backup.") from error


@dataclass(frozen=True)
class _Found:
    bytes: int
    sha256: str
    link: str = ""


def _extract_members(
    archive: tarfile.TarFile, staging: Path, total_bytes: int, progress: Progress
) -> tuple[dict[str, _Found], list[dict[str, Any]]]:
    found: dict[str, _Found] = {}
    done = 0
    while (member := archive.next()) is not None:
        if member.name == MANIFEST:
            if not member.isreg() or member.size > _MAX_DOCUMENT_BYTES:
                break
            return found, _entries(_document(archive, member))
        name = safe_name(member.name)
        path = staging / name
        if os.path.lexists(path):  # also a name that differs only in case, where the disk ignores case
            raise ArchiveError(f"The backup contains {name!r} twice.", suggestion="Use another backup.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:  # a file of the archive is in the place of a folder
            raise ArchiveError(f"The backup contains a file and a folder at {name!r}.") from error
        if member.islnk():
            found[name] = _link(found, safe_name(member.linkname), staging, path)
        elif member.isreg():
            found[name] = _file(archive, member, path)
        else:
            raise ArchiveError(f"The backup contains {name!r}, which is neither a file nor a hard link.")
        done += found[name].bytes
        progress(done, max(total_bytes, done))
    raise ArchiveError("The backup is incomplete: the list of its files is missing.", suggestion="Use another backup.")


def safe_name(name: str) -> str:
    """Return the name of a member if it stays in the folder.

    :raises ArchiveError: if it doesn't.
    """
    parts = name.split("/")
    unsafe = "\0" in name or any(part in ("", ".", "..") for part in parts)
    if unsafe or (os.name == "nt" and not all(map(_safe_on_windows, parts))):
        raise ArchiveError(f"The backup contains the unsafe path {name!r}. Nothing was restored.")
    return name


def _safe_on_windows(part: str) -> bool:
    special = part.endswith((".", " ")) or any(ord(character) < 32 or character in '\\:*?"<>|' for character in part)
    return not special and part.split(".")[0].casefold() not in _RESERVED


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> _Found:
    check_space(path.parent, member.size, "the next file")
    content = archive.extractfile(member)
    assert content is not None  # it is a regular file
    digest, size = hashlib.sha256(), 0
    with open(path, "xb") as file:
        while chunk := content.read(CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return _Found(size, digest.hexdigest())


def _link(found: dict[str, _Found], first: str, staging: Path, path: Path) -> _Found:
    if first not in found or found[first].link:
        raise ArchiveError(f"The backup contains a link to {first!r}, which isn't a file before it.")
    try:
        os.link(staging / first, path)
    except OSError:  # the file system has no hard links
        shutil.copyfile(staging / first, path)
    return _Found(0, "", link=first)


def _entries(document: Any) -> list[dict[str, Any]]:
    try:
        return [
            {
                "name": str(entry["name"]),
                "bytes": int(entry["bytes"]),
                "mtime_ns": int(entry["mtime_ns"]),
                "mode": int(entry["mode"]) & 0o777,
                "sha256": str(entry.get("sha256", "")),
                "link": str(entry.get("link", "")),
            }
            for entry in document["files"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError("The list of files in the backup is damaged.", suggestion="Use another backup.") from error


def _verify(found: dict[str, _Found], manifest: list[dict[str, Any]]) -> None:
    """Check that the archive has exactly the files of its list."""
    listed = {entry["name"]: _Found(entry["bytes"], entry["sha256"], entry["link"]) for entry in manifest}
    for name in (*listed, *found):
        if name not in found:
            raise ArchiveError(f"{name} is missing in the backup.", suggestion="Use another backup.")
        if name not in listed:
            raise ArchiveError(f"The backup contains {name}, which isn't in its list of files.", suggestion="Use another backup.")
        if found[name] != listed[name]:
            raise ArchiveError(f"{name} in the backup is damaged: its checksum differs.", suggestion="Use another backup.")


def change_paths(path: Path, name: str, old: str, new: str) -> None:
    """Let a settings file, a journal or a database refer to files in the new data folder."""
    folder, _, rest = name.partition("/")
    ours = not rest or folder in ("config", "configs") or (folder == "runs" and rest.count("/") == 1)
    if ours and name.endswith(_WITH_PATHS):
        _replace_in_lines(path, old, new)
    elif ours and name.endswith(".sqlite"):
        with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(os.fspath(path))) as database:
            _replace_in_database(database, old, new)


def _replacements(old: str, new: str) -> list[tuple[bytes, bytes]]:
    """Return how a path begins in JSON, with characters beyond ASCII and with escapes, and what to write instead."""
    pairs = []
    for ascii_only in (False, True):
        before, after = (json.dumps(text, ensure_ascii=ascii_only)[:-1].encode("utf-8", "surrogatepass") for text in (old, new))
        for end in (b"/", b'"', b"\\\\"):
            pairs.append((before + end, after + end))
    return list(dict.fromkeys(pairs))


def _replace_in_lines(path: Path, old: str, new: str) -> None:
    pairs = _replacements(old, new)
    temporary = path.with_name(f"{path.name}.moving")
    changed = False
    with open(path, "rb") as source, open(temporary, "xb") as target:
        for line in source:
            moved = line
            for before, after in pairs:
                moved = moved.replace(before, after)
            changed = changed or moved != line
            target.write(moved)
        target.flush()
        os.fsync(target.fileno())
    if changed:
        shutil.copymode(path, temporary)
        os.replace(temporary, path)
    else:
        temporary.unlink()


def _replace_in_database(database: sqlite3.Connection, old: str, new: str) -> None:
    with database:
        tables = [table for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")') if row[2].upper() == "TEXT"]
            for column in columns:
                for before, after in _replacements(old, new):
                    database.execute(
                        f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE instr("{column}", ?) > 0',
                        (before.decode(), after.decode(), before.decode()),
                    )
