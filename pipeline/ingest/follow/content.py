"""The bytes of a file that grows, or of a packed one, from any offset on."""

import errno
import lzma
import os
import stat
import zlib

from pipeline.ingest.files.unpack import XZ, magic_of, unpacker

# Packed bytes that are read at once.
_PACKED_BYTES = 65_536


class Content:
    """A file that is not packed: it may grow, shrink, and get another name while it is open."""

    packed = False

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.complete = True
        """Of a packed file: whether its end has been reached; else it may still be written."""

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset` on; none at the end."""
        return os.pread(self._handle, size, offset)

    def stat(self) -> os.stat_result:
        """What the system says of it."""
        return os.fstat(self._handle)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


class PackedContent(Content):
    """A file of gzip, bzip2 or xz, read as if it were not packed; backwards only from its start on."""

    packed = True

    def __init__(self, handle: int, magic: bytes) -> None:
        super().__init__(handle)
        self._magic = magic
        self._restart()

    def _restart(self) -> None:
        self.complete = False
        self._broken = False
        self._unpacker = unpacker(self._magic)
        self._packed_at = 0
        self._pending = b""  # packed bytes that were read and not unpacked
        self._window, self._window_at = b"", 0  # the unpacked bytes read last, and where they begin

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` unpacked bytes from `offset` on; none at the end, or where it is not written yet."""
        if offset < self._window_at:
            self._restart()
        while (end := self._window_at + len(self._window)) < offset + size:
            more = self._unpack(max(size, _PACKED_BYTES))
            if not more:
                break
            if end <= offset:
                self._window, self._window_at = more, end
            else:
                self._window += more
        begin = offset - self._window_at
        if begin > len(self._window):
            return b""
        # Who reads on asks again for the last bytes it had, never for earlier ones.
        self._window, self._window_at = self._window[begin:], offset
        return self._window[:size]

    def _unpack(self, size: int) -> bytes:
        """The next unpacked bytes; none at the end, where it is not written yet, and where it is broken."""
        while not self.complete and not self._broken:
            packed = self._pending or self._packed()
            try:
                unpacked = self._unpacker.decompress(packed, size)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
                self._broken = True
                return b""
            self._pending = getattr(self._unpacker, "unconsumed_tail", b"")
            if self._unpacker.eof:
                self._next_piece(self._unpacker.unused_data)
            elif not packed and not unpacked:
                return b""
            if unpacked:
                return unpacked
        return b""

    def _packed(self) -> bytes:
        if not getattr(self._unpacker, "needs_input", True):
            return b""
        packed = os.pread(self._handle, _PACKED_BYTES, self._packed_at)
        self._packed_at += len(packed)
        return packed

    def _next_piece(self, rest: bytes) -> None:
        """Files packed one after another are one file."""
        if len(rest) < len(self._magic):
            more = os.pread(self._handle, _PACKED_BYTES, self._packed_at)
            self._packed_at += len(more)
            rest += more
        if rest.startswith(self._magic):
            self._unpacker, self._pending = unpacker(self._magic), rest
        else:
            self.complete = True


def open_content(path: str) -> Content:
    """Open a file for reading; OSError where that cannot be, also where it is no regular file."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "no regular file", path)
        head = os.pread(handle, len(XZ), 0)
    except BaseException:
        os.close(handle)
        raise
    magic = magic_of(head)
    return Content(handle) if magic is None else PackedContent(handle, magic)
