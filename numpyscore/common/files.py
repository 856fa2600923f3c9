"""Files that are written whole or not at all, and npz archives that are looked at before they are read."""

import contextlib
import hashlib
import io
import math
import os
import secrets
import stat
import zipfile

import numpy as np

MOST = 1 << 31  # bytes that an npz file may unpack to
SWELLING = 50  # times its own size that a file may unpack to, beyond 64 MiB; weights hardly shrink by compression


def write_whole(path, content):
    """Put `content` (bytes, or an iterable of them, made as they are written) at `path`: afterwards the file there is the new one, or, after any failure, the old one.

    A temporary file in the same folder is written and flushed to the disk, takes the old one's place in one step of the file
    system, and the folder is flushed too. A kill or a full disk in between leaves the old file as it was (and perhaps a
    temporary one, whose name ends in .tmp). A link stays a link, and a file that was there keeps its permissions.

    Raises
    ------
    OSError
        With the path in it, if the disk is full, the folder read-only, or a folder stands at `path`.
    """
    path = os.path.realpath(os.fsdecode(path))
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb") as file:  # with the permissions of any new file
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        if os.path.isfile(path):
            os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))
        os.replace(temporary, path)
        _flush_folder(os.path.dirname(path) or ".")
    except OSError as error:
        _remove(temporary)
        raise OSError(error.errno, error.strerror or str(error), path) from None
    except BaseException:
        _remove(temporary)
        raise


def _remove(path):
    with contextlib.suppress(OSError):
        os.unlink(path)


def _flush_folder(folder):
    """The new name on the disk too, where the system lets a folder be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_npz(path, arrays):
    """Write a dict of arrays to a plain npz file (no pickle), whole or not at all; see `write_whole` for what is raised.

    Unlike np.savez it leaves out the time, so that the same arrays are the same bytes.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, value in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)
    write_whole(path, stream.getvalue())


def read_npz(path, refuse, max_bytes=MOST):
    """The arrays in an npz file, as a dict; nothing is unpickled, and nothing unpacked before its size has been looked at.

    Parameters
    ----------
    path : path of an npz file
    refuse : callable
        Makes the exception to raise of "is damaged (...)", the second half of a sentence about the file.
    max_bytes : int
        Refuse a file whose contents would unpack to more than this; or to more than SWELLING times the size of the file.

    Raises
    ------
    OSError
        If the file is missing, a folder, or may not be read; everything else becomes `refuse(why)`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            inflated = sum(member.file_size for member in archive.infolist())
        if inflated > max_bytes:
            raise MemoryError(f"it would unpack to {inflated} bytes, more than max_bytes = {max_bytes}")
        if inflated > max(1 << 26, SWELLING * os.path.getsize(path)):
            raise MemoryError(f"its {os.path.getsize(path)} bytes would unpack to {inflated}: numbers that say nothing")
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    _as_large_as_said(file, member.filename, member.file_size)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except OSError as error:
        if error.filename is not None:  # missing, a folder, unreadable
            raise
        raise refuse(f"is damaged ({error})") from None
    except Exception as error:  # zipfile, zlib and the npy reader have many ways to say so
        raise refuse(f"is not a whole npz file of plain arrays ({error})") from None


def read_npy(path, refuse):
    """The array in an npy file; see `read_npz`."""
    try:
        with open(path, "rb") as file:
            _as_large_as_said(file, "it", os.fstat(file.fileno()).st_size)
            file.seek(0)
            return np.load(file, allow_pickle=False)
    except OSError as error:
        if error.filename is not None:
            raise
        raise refuse(f"is damaged ({error})") from None
    except Exception as error:
        raise refuse(f"is not a whole npy file of a plain array ({error})") from None


def _as_large_as_said(file, name, size):
    """Refuse an entry whose header promises another array than its bytes hold: NumPy would make room for the promised one first."""
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in header:
        raise ValueError(f"{name} is of npy version {version}")
    shape, _, dtype = header[version](file)
    there, said = size - file.tell(), math.prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or said != there:
        raise ValueError(f"{name} has {there} bytes for an array of {shape} numbers of {dtype}")


def digest(arrays):
    """SHA-256 of a dict of arrays: names, dtypes, shapes and bytes, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        a = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {a.dtype.str} {np.shape(arrays[name])};".encode())
        total.update(a.tobytes())
    return total.hexdigest()


def text(data, name):
    """A scalar entry of `read_npz` as text, "" if there is none."""
    return str(data[name]) if name in data and data[name].shape == () else ""
