"""`fetch-weights`: brings published weights into the models folder. Licence first, then a pinned, checked file.

A download goes on where it stopped, in the same run or the next, and gets its name only after its size and
sha256 were checked. With HF_HUB_OFFLINE set nothing is asked of the network; what lies there is checked.
Weights are downloaded by this command, and on first use (first_use.py); never while a service runs. Knows no networks
and jobs.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, get_token, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from huggingface_hub.file_download import http_get

from ai_engine.published_weights import (
    FOLDERS,
    MATTING_MODELS,
    NONE,
    SHAPE_MODELS,
    HubOrigin,
    Licence,
    Weights,
    WeightsFolder,
    licence_texts,
)

EXIT_OK, EXIT_FAILED, EXIT_NOT_ACCEPTED = 0, 1, 2

_SHA256_DIGITS = 64
_HASH_CHUNK_BYTES = 8 * 1024 * 1024


class FetchFailed(Exception):
    """A file could not be brought here whole; the message says what the operator can do."""


class NotPublished(FetchFailed):
    """The repository has no file of this name."""


@dataclass(frozen=True)
class Seal:
    """What a file must be: `size_bytes` long, with this `sha256`; None where none is published."""

    size_bytes: int | None
    sha256: str | None

    def flaw(self, path: Path) -> str | None:
        """What is wrong with the file at `path`, in words; None if nothing is."""
        size_bytes = path.stat().st_size
        if self.size_bytes is not None and size_bytes != self.size_bytes:
            return f"has {size_bytes:,} bytes instead of {self.size_bytes:,}"
        if self.sha256 is not None and (found := _sha256(path)) != self.sha256:
            return f"has sha256 {found} instead of {self.sha256}"
        return None


@dataclass(frozen=True)
class Download:
    """Where the bytes of a file come from, and what they must be."""

    url: str
    headers: dict[str, str] | None
    seal: Seal


def run(arguments: argparse.Namespace) -> int:
    """Fetches what the options of `add_choices` name, and says so; gives back the exit status."""
    wanted = _choose(arguments.variant, arguments.matting)
    folder = FOLDERS.get(arguments.variant)
    show_licences(wanted)
    refusal = refused_by_territory(wanted, arguments.territory)
    if refusal is not None:
        print(f"Nothing was downloaded. {refusal}")
        return EXIT_NOT_ACCEPTED
    if not is_agreed(wanted, accept_licence=arguments.accept_licence):
        print("Nothing was downloaded. If you agree and may, run this again with --accept-licence.")
        return EXIT_NOT_ACCEPTED
    try:
        fetch_all(wanted, licence_texts(wanted[0]) if arguments.variant != NONE else (), arguments.models)
    except FetchFailed as failure:
        print(f"FAILED: {failure}")
        return EXIT_FAILED
    _show_settings(wanted, folder, arguments.models)
    return EXIT_OK


def refused_by_territory(wanted: Iterable[Weights], territory: str | None) -> str | None:
    """Why one of the files may not be used in `territory`, a country code or EU; None where all may."""
    refusals = (weights.licence.refusal(weights.name, territory) for weights in wanted)
    return next(filter(None, refusals), None)


def fetch(weights: Weights, models: Path) -> Path:
    """The path of the published file in the folder `models`, whole and checked; downloaded unless it is there.

    Raises:
        FetchFailed: no connection, no room, or the bytes are not those that were published.
    """
    path = models / weights.path
    if path.is_file() and (weights.sha256 is not None or constants.is_offline_mode()):
        return _check_in_place(path, Seal(weights.size_bytes, weights.sha256))
    if constants.is_offline_mode():
        raise FetchFailed(
            f"HF_HUB_OFFLINE is set and {path} is missing. Set it to 0, or put the file there yourself; "
            f"it comes from {_public_url(weights)}"
        )
    download = locate(weights)
    if path.is_file():
        return _check_in_place(path, download.seal)
    return _download(download, path)


def fetch_all(files: Iterable[Weights], texts: Iterable[Weights], models: Path) -> None:
    """Brings files and licence texts into `models`; raises FetchFailed."""
    for weights in files:
        fetch(weights, models)
    for text in texts:
        _fetch_text(text, models)


def _fetch_text(text: Weights, models: Path) -> None:
    """Brings a licence text, or says that the repository has none; offline what is there is left as it is.

    Raises:
        FetchFailed: as `fetch`.
    """
    if constants.is_offline_mode():
        return
    try:
        fetch(text, models)
    except NotPublished:
        print(f"{_public_url(text)}: the repository has no such file", flush=True)


def locate(weights: Weights) -> Download:
    """Where to get a published file and what it must be, with the hub's word where the table has none.

    Raises:
        FetchFailed: the hub can't be asked, has no such file, or has another one than is written here.
    """
    pinned = Seal(weights.size_bytes, weights.sha256)
    if not isinstance(weights.origin, HubOrigin):
        return Download(weights.origin, None, pinned)
    origin = weights.origin
    url = hf_hub_url(origin.repo, origin.file, revision=origin.revision)
    try:
        metadata = get_hf_file_metadata(url)
    except EntryNotFoundError as error:
        raise NotPublished(f"{_public_url(weights)} can't be asked for: {error}") from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise FetchFailed(f"{_public_url(weights)} can't be asked for: {error}") from error
    sha256 = metadata.etag if metadata.etag is not None and len(metadata.etag) == _SHA256_DIGITS else None
    _check_agreement(weights, pinned, Seal(metadata.size, sha256))
    seal = Seal(pinned.size_bytes or metadata.size, pinned.sha256 or sha256)
    # The client drops this header where the hub redirects to another host's store.
    token = get_token()
    return Download(url, {"Authorization": f"Bearer {token}"} if token else None, seal)


def _check_agreement(weights: Weights, pinned: Seal, found: Seal) -> None:
    for ours, theirs in ((pinned.size_bytes, found.size_bytes), (pinned.sha256, found.sha256)):
        if ours is not None and theirs is not None and ours != theirs:
            raise FetchFailed(f"the hub's {weights.path} is another file: {theirs} instead of {ours}")


def _download(download: Download, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{(download.seal.sha256 or 'unknown')[:12]}.part")
    have_bytes = _resumable_bytes(part, download.seal)
    _check_room(path.parent, download.seal, have_bytes)
    print(f"{path}: {'goes on' if have_bytes else 'begins'} at {have_bytes:,} bytes", flush=True)
    _receive(download, part, have_bytes)
    print(f"{path}: checking {_sum_words(download.seal)}", flush=True)
    if (flaw := download.seal.flaw(part)) is not None:
        part.unlink()
        raise FetchFailed(f"what came for {path} {flaw}; it was thrown away. Run this again.")
    part.replace(path)
    return path


def _resumable_bytes(part: Path, seal: Seal) -> int:
    """How much of the file came in an earlier run; more than there can be is thrown away."""
    if not part.exists():
        return 0
    have_bytes = part.stat().st_size
    if seal.size_bytes is not None and have_bytes > seal.size_bytes:
        part.unlink()
        return 0
    return have_bytes


def _receive(download: Download, part: Path, have_bytes: int) -> None:
    """Appends the rest of the file to `part`; a short break of the line is waited out.

    Raises:
        FetchFailed: the connection is gone for longer; what has come stays for the next run.
    """
    try:
        with part.open("ab") as file:
            http_get(
                download.url,
                file,
                resume_size=have_bytes,
                headers=download.headers,
                expected_size=download.seal.size_bytes,
            )
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        kept = part.stat().st_size if part.exists() else 0
        raise FetchFailed(f"{error}. {kept:,} bytes are kept; run this again to go on.") from error


def _check_in_place(path: Path, seal: Seal) -> Path:
    print(f"{path}: is there; checking {_sum_words(seal)}", flush=True)
    if (flaw := seal.flaw(path)) is not None:
        raise FetchFailed(f"{path} {flaw}. Move it away and run this again.")
    return path


def _check_room(folder: Path, seal: Seal, have_bytes: int) -> None:
    needed, free = (seal.size_bytes or 0) - have_bytes, shutil.disk_usage(folder).free
    if needed > free:
        raise FetchFailed(f"{folder} has room for {free / 1e9:.1f} GB; {needed / 1e9:.1f} GB are needed")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _sum_words(seal: Seal) -> str:
    if seal.sha256 is not None:
        return f"sha256 {seal.sha256}"
    return (
        "its size only: no sum of this file is known"
        if seal.size_bytes
        else "nothing: nothing is known of it"
    )


def _public_url(weights: Weights) -> str:
    if not isinstance(weights.origin, HubOrigin):
        return weights.origin
    return hf_hub_url(weights.origin.repo, weights.origin.file, revision=weights.origin.revision)


def _choose(variant: str, matting: str) -> list[Weights]:
    """The files of the shape model, then the background remover."""
    shape = FOLDERS[variant].files if variant in FOLDERS else (SHAPE_MODELS.get(variant),)
    return [weights for weights in (*shape, MATTING_MODELS.get(matting)) if weights is not None]


def show_licences(wanted: Iterable[Weights]) -> None:
    """Prints the licence of each file, its conditions in our words."""
    by_licence: dict[Licence, list[str]] = {}
    for weights in wanted:
        names = by_licence.setdefault(weights.licence, [])
        if weights.name not in names:
            names.append(weights.name)
    for licence, names in by_licence.items():
        print(f"{', '.join(names)}: {licence.name}\n  {licence.url}")
        print("".join(f"  - {condition}\n" for condition in licence.conditions))
    print("These are our words for the main points; what binds is the text at the address.\n", flush=True)


def is_agreed(wanted: Iterable[Weights], *, accept_licence: bool, may_ask: bool = True) -> bool:
    """True where no licence of them wants to be agreed to, or `accept_licence` or a person at the terminal agrees."""
    if accept_licence or not any(weights.licence.must_accept for weights in wanted):
        return True
    if not may_ask or not sys.stdin.isatty():
        return False
    try:
        return input("Do you agree, and may you? yes or no: ").strip().lower() == "yes"
    except EOFError:
        return False


def _show_settings(wanted: Sequence[Weights], folder: WeightsFolder | None, models: Path) -> None:
    print("\nAll is there and checked. Settings to use it:")
    if folder is not None:
        print(f"  MODEL_PATH={(models / folder.path).as_posix()}")
    for weights in wanted:
        if folder is not None and weights in folder.files:
            continue
        if weights.name in SHAPE_MODELS:
            print(f"  MODEL_PATH={(models / weights.path).as_posix()}")
        else:
            print(f"  MATTING_MODEL={weights.name}  MATTING_HOME={(models / weights.path).parent.as_posix()}")
