"""Several outputs in one answer (RFC 2387, multipart/related)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import anyio
from starlette.responses import Response, StreamingResponse

_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class BodyPart:
    """One part: its headers and its body, which is `content` or a file of `size` bytes."""

    headers: Mapping[str, str]
    content: bytes = b""
    file: Path | None = None
    size: int = 0

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return self.size if self.file else len(self.content)


def related(parts: Sequence[BodyPart], headers: Mapping[str, str]) -> Response:
    """Answer with the parts, streamed, with Content-Length."""
    boundary = token_hex(16)
    heads = [_head(part, boundary) for part in parts]
    tail = f"\r\n--{boundary}--\r\n".encode()
    length = sum(map(len, heads)) + sum(part.length for part in parts) + len(tail)

    async def body() -> AsyncIterator[bytes]:
        for head, part in zip(heads, parts, strict=True):
            yield head
            async for chunk in _body(part):
                yield chunk
        yield tail

    kind = parts[0].headers["Content-Type"]
    return StreamingResponse(
        body(),
        headers={**headers, "Content-Length": str(length)},
        media_type=f'multipart/related; boundary={boundary}; type="{kind}"',
    )


def _head(part: BodyPart, boundary: str) -> bytes:
    lines = [f"--{boundary}", *(f"{name}: {value}" for name, value in part.headers.items())]
    return ("\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode()


async def _body(part: BodyPart) -> AsyncIterator[bytes]:
    if part.file is None:
        yield part.content
        return
    async with await anyio.open_file(part.file, "rb") as file:
        while chunk := await file.read(_CHUNK):
            yield chunk
