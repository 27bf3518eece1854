"""What was sent: bytes of images, in memory only, and their parameters, within limits of size, time and room."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from dala.api.problems import Problem

MULTIPART = "multipart/form-data"
BESIDE = 64 * 1024  # bytes of a form beside its image
LARGEST_JSON = 64 * 1024
SECONDS, DRAINING_SECONDS = 120.0, 20.0
AGAIN = {"Retry-After": "2"}


@dataclass(frozen=True)
class SentImage:
    """The bytes of an image, its file name as far as one was told, and whether the name was one of the parameters."""

    data: bytes
    name: str
    named: bool


@dataclass(frozen=True)
class Sent:
    """The images, at least one, and the parameters of all of them."""

    images: tuple[SentImage, ...]
    told: dict[str, str]

    @property
    def image(self) -> SentImage:
        """The first, or only one."""
        return self.images[0]


class Room:
    """So many at once, and for one more a problem that asks to come again; any number of threads may use it."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._free = threading.BoundedSemaphore(most)

    @contextmanager
    def place(self) -> Iterator[None]:
        if not self._free.acquire(blocking=False):
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"The server works on as many requests at once as it may ({self.most}); please ask again.",
                AGAIN,
            )
        try:
            yield
        finally:
            self._free.release()


async def sent_images(request: Request, largest_mb: int, known: frozenset[str], most: int = 1) -> Sent:
    """An image as the body, with its parameters in the address; or up to `most` files `image` of a form, with its
    fields, of which `name` is there once for each image or not at all.

    `known`: the parameters that there are. Raises Problem for everything else, and for more than `largest_mb` of all.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(SECONDS):
            if kind == MULTIPART:
                sent = await _of_form(request, largest_mb, most)
            else:
                told = dict(request.query_params)
                name = told.pop("name", None)
                image = b"".join([part async for part in limited(request, largest_mb * 2**20)])
                sent = Sent((SentImage(image, name or "", name is not None),) if image else (), told)
    except TimeoutError:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"The image did not arrive within {SECONDS:.0f} seconds.") from None
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "The connection ended before the image was complete.") from None
    unknown = sorted(sent.told.keys() - known)
    if unknown:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"There is no parameter {unknown[0]!r}; there are {', '.join(sorted(known | {'name'}))}.",
        )
    if not sent.images or not all(image.data for image in sent.images):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "No image was sent: it is the body of the request, or the file 'image' of a form (multipart/form-data).",
        )
    return sent


async def _of_form(request: Request, largest_mb: int, most: int) -> Sent:
    largest = largest_mb * 2**20
    parser = MultiPartParser(
        request.headers, limited(request, largest + BESIDE), max_files=most, max_fields=60, max_part_size=BESIDE
    )
    parser.spool_max_size = largest + BESIDE + 1  # nothing is written to a disk
    try:
        form = await parser.parse()
    except (MultiPartException, HTTPException):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"The form cannot be read: it has {'one file' if most == 1 else f'1 to {most} files'}, 'image', and short "
            "fields.",
        ) from None
    try:
        files = [file for file in form.getlist("image") if isinstance(file, UploadFile)]
        data = [await file.read() for file in files]
        if sum(map(len, data)) > largest:
            raise too_large(largest)
        items = [*request.query_params.multi_items(), *form.multi_items()]
    finally:
        await form.close()
    names = [str(value) for key, value in items if key == "name"]
    if names and files and len(names) != len(files):
        raise Problem(HTTPStatus.BAD_REQUEST, "There is one name for each image, in their order, or none.")
    images = [
        SentImage(content, names[place] if names else file.filename or "", bool(names))
        for place, (file, content) in enumerate(zip(files, data, strict=True))
    ]
    return Sent(tuple(images), {key: str(value) for key, value in items if key not in ("image", "name")})


async def sent_json(request: Request) -> Any:
    """A JSON body. Raises Problem for anything else."""
    try:
        async with asyncio.timeout(SECONDS):
            body = b"".join([part async for part in limited(request, LARGEST_JSON)])
    except (TimeoutError, ClientDisconnect):
        raise Problem(HTTPStatus.BAD_REQUEST, "The request was not complete.") from None
    import json

    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, "The body of this request is JSON.") from None


async def limited(request: Request, largest: int) -> AsyncGenerator[bytes, None]:
    """The body part by part. Raises Problem once it is larger, or says that it will be."""
    said = request.headers.get("content-length", "")
    count = 0
    if said.isascii() and said.isdigit() and int(said) > largest:
        raise too_large(largest)
    async for part in request.stream():
        count += len(part)
        if count > largest:
            raise too_large(largest)
        yield part


async def drain(request: Request, most: int) -> None:
    """Read what is still to come and throw it away, for many a client hears no answer before it has sent everything;
    no more than `most` bytes of it, and not for long."""
    count = 0
    with contextlib.suppress(ClientDisconnect, TimeoutError, RuntimeError):  # RuntimeError: it was read to its end
        async with asyncio.timeout(DRAINING_SECONDS):
            async for part in request.stream():
                count += len(part)
                if count > most:
                    return


def too_large(largest: int) -> Problem:
    shown = f"{largest // 2**20} MB" if largest >= 2**20 else f"{largest // 1024} kB"
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {shown} are accepted in one request.")
