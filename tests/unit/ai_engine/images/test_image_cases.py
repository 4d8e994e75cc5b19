"""Files of public reports (cases/), each with the value that a browser shows; and what no longer matters."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ai_engine.errors import ImageTooLarge, NoForeground, UnreadableImage
from ai_engine.images import jpeg_segments
from ai_engine.images.background import RemoveBackground, cut_out
from ai_engine.images.image_file import read_picture

CASES = Path(__file__).parent / "cases"
RAMP = np.arange(48 * 32 * 3, dtype=np.uint32).reshape(32, 48, 3).astype(np.uint8)


def file_of(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RAMP).save(file, kind, **options)
    return file.getvalue()


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(read_picture(data))


@pytest.mark.parametrize(
    "name",
    [
        "png-crc-phys",
        "png-icc-over-1mb",
        "png-ztxt-over-1mb",
        "png-trns-empty",
        "png-phys-short",
        "xmp-only-orientation",
    ],
)
def test_what_lies_beside_the_pixels_does_not_change_them(name: str) -> None:
    expected = np.asarray(Image.open(CASES / "opaque.png").convert("RGB"))
    assert np.array_equal(pixels_of((CASES / f"{name}.png").read_bytes()), expected)


@pytest.mark.parametrize("name", ["gray2-white", "gray4-white"])
def test_grey_of_few_bits_keeps_its_clear_white(name: str) -> None:
    pixels = pixels_of((CASES / f"{name}.png").read_bytes())
    is_white = pixels[..., :3].min(axis=2) == 255
    assert is_white.any()
    assert np.array_equal(pixels[..., 3] == 0, is_white)


def test_orientation_in_a_webp_is_not_followed() -> None:
    with Image.open(CASES / "exif6.webp") as stored:
        assert read_picture((CASES / "exif6.webp").read_bytes()).size == stored.size


def test_of_an_apng_the_first_frame_that_is_shown_is_read() -> None:
    pixels = pixels_of((CASES / "apng-hidden-first.png").read_bytes())
    assert np.ptp(pixels[..., :3], axis=(0, 1)).max() > 100


def test_avif_is_read() -> None:
    assert read_picture(file_of("AVIF")).size == (48, 32)


def test_avif_of_the_general_heif_brand_is_read() -> None:
    avif = bytearray(file_of("AVIF"))
    assert b"avif" in avif[16 : int.from_bytes(avif[:4], "big")]
    avif[8:12] = b"mif1"
    assert np.array_equal(pixels_of(bytes(avif)), pixels_of(file_of("AVIF")))


def test_an_avif_that_announces_many_pixels_is_refused_before_it_is_decoded() -> None:
    avif = file_of("AVIF")
    size = avif.index(b"ispe") + 8
    with pytest.raises(ImageTooLarge, match="30000 x 30000"):
        read_picture(avif[:size] + struct.pack(">II", 30_000, 30_000) + avif[size + 8 :])


def test_an_avif_of_thousands_of_boxes_is_refused_before_it_is_decoded() -> None:
    box = struct.pack(">I4s", 8, b"free")
    with pytest.raises(ImageTooLarge, match="boxes"):
        read_picture(file_of("AVIF") + 5000 * box)


@given(cut=st.integers(12, 300), flip=st.integers(0, 255))
@settings(deadline=None, max_examples=40)
def test_a_damaged_avif_is_refused_as_one_or_read(cut: int, flip: int) -> None:
    avif = bytearray(file_of("AVIF"))
    avif[cut % len(avif)] ^= flip
    with contextlib.suppress(UnreadableImage, ImageTooLarge):
        assert read_picture(bytes(avif), max_pixels=100_000).width >= 16


CUT_OUTS = {
    "apng-hidden-first.png": ("none", 1.0),
    "cut-clean.png": ("alpha", 0.2146),
    "cut-glass110.png": ("alpha", 0.2146),
    "cut-small-in-big.png": ("alpha", 0.0055),
    "cut-stray-pixel.png": ("alpha", 0.2146),
    "cut-trimmed-box.png": ("alpha", 0.9962),
    "exif6.webp": ("none", 1.0),
    "gray2-white.png": ("alpha", 0.2146),
    "gray4-white.png": ("alpha", 0.2146),
    "opaque.png": ("none", 1.0),
    "png-crc-phys.png": ("none", 1.0),
    "png-icc-over-1mb.png": ("none", 1.0),
    "png-phys-short.png": ("none", 1.0),
    "png-trns-empty.png": ("none", 1.0),
    "png-ztxt-over-1mb.png": ("none", 1.0),
    "xmp-only-orientation.png": ("none", 1.0),
}
"""Every picture of cases/ that shows something: where its outline comes from, and its share of the picture."""


def test_the_table_holds_every_case() -> None:
    files = {file.name for file in CASES.iterdir() if file.suffix != ".response"}
    assert files - {"blank-alpha254.png"} == CUT_OUTS.keys()


@pytest.mark.parametrize("name", CUT_OUTS)
def test_a_picture_is_cut_out_by_its_alpha_or_left_whole_where_that_is_asked_for(name: str) -> None:
    facts = cut_out((CASES / name).read_bytes(), remove="never", remover=None).facts
    assert facts is not None
    assert (facts.source, facts.share) == CUT_OUTS[name]
    assert ("covers_everything" in facts.warnings) is (facts.share > 0.97)


@pytest.mark.parametrize("name", [name for name, (source, _) in CUT_OUTS.items() if source == "none"])
@pytest.mark.parametrize("remove", ["auto", "always"])
def test_an_opaque_picture_fails_where_no_remover_is_installed(name: str, remove: RemoveBackground) -> None:
    with pytest.raises(NoForeground, match=r"opaque.*alpha channel"):
        cut_out((CASES / name).read_bytes(), remove=remove, remover=None)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf", "HEIF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "video"),
        (b"GIF89a" + bytes(20), "GIF"),
        (b"II*\0" + bytes(20), "TIFF"),
        (b"\n<!DOCTYPE html><html>", "HTML"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_another_format_is_named_with_what_to_send_instead(data: bytes, name: str) -> None:
    with pytest.raises(UnreadableImage, match=f"{name}.*PNG, JPEG or WebP"):
        read_picture(data)


@given(
    name=st.text("abcdefghij", min_size=4, max_size=4).map(lambda text: text[0] + text[1:3].upper() + text[3])
    | st.sampled_from(
        ["eXIf", "iCCP", "gAMA", "cHRM", "sBIT", "bKGD", "hIST", "PLTE", "acTL", "pHYs", "iTXt"]
    ),
    body=st.binary(max_size=60),
    crc=st.none() | st.integers(0, 2**32 - 1),
    is_behind=st.booleans(),
)
@settings(deadline=None, max_examples=100)
def test_chunks_beside_the_pixels_never_change_a_png(
    name: str, body: bytes, crc: int | None, is_behind: bool
) -> None:
    png, tag = file_of("PNG"), name.encode()
    assume(not (tag in (b"gAMA", b"cICP") and len(body) == 4 and crc is None))  # These are meant to.
    place = png.index(b"IEND") - 4 if is_behind else 33
    checksum = zlib.crc32(tag + body) if crc is None else crc
    chunk = struct.pack(">I", len(body)) + tag + body + struct.pack(">I", checksum)
    assert np.array_equal(pixels_of(png[:place] + chunk + png[place:]), RAMP)


APPLICATION_HEADS = [
    b"Exif\0\0",
    b"Exif\0\0MM\0*",
    b"Exif\0\0II*\0\x08\0\0\0",
    b"ICC_PROFILE\0",
    b"MPF\0",
    b"JFXX\0",
]


@given(
    marker=st.sampled_from([*range(0xE1, 0xEE), 0xEF, 0xFE]),
    head=st.just(b"") | st.sampled_from(APPLICATION_HEADS),
    body=st.binary(max_size=60),
    num_copies=st.integers(1, 5),
)
@settings(deadline=None, max_examples=100)
def test_application_segments_never_change_a_jpeg(
    marker: int, head: bytes, body: bytes, num_copies: int
) -> None:
    jpeg = file_of("JPEG")
    segment = bytes([0xFF, marker]) + struct.pack(">H", 2 + len(head + body)) + head + body
    assert np.array_equal(pixels_of(jpeg[:2] + num_copies * segment + jpeg[2:]), pixels_of(jpeg))


EXIF = b"Exif\0\0II*\0\x08\0\0\0\1\0\x0f\1\3\0\1\0\0\0\1\0\0\0\0\0\0\0"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize(
    "damage", [(b"II*\0", b"junk"), (b"\x08\0\0\0", b"\xff" * 4), (b"\1\0\x0f", b"\xff\xff\x0f")]
)
def test_a_damaged_exif_block_refuses_no_picture(kind: str, damage: tuple[bytes, bytes]) -> None:
    sound = file_of(kind, exif=EXIF)
    assert sound.count(EXIF[6:]) == 1
    assert np.array_equal(pixels_of(sound.replace(EXIF[6:], EXIF[6:].replace(*damage))), pixels_of(sound))


def test_sixteen_bits_of_a_clear_colour_are_compared() -> None:
    rows = np.full((32, 48, 3), 0x1234, ">u2")
    rows[:, 24:] = 0x1235
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", 48, 32, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"tRNS", b"\x12\x34" * 3), (b"IDAT", packed), (b"IEND", b"")]
    parts = [struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks]
    pixels = pixels_of(b"\x89PNG\r\n\x1a\n" + b"".join(parts))

    assert np.all(pixels[:, :24, 3] == 0)
    assert np.all(pixels[:, 24:] == (0x12, 0x12, 0x12, 255))


@pytest.mark.parametrize("major", [b"miaf", b"isom"])
def test_an_avif_of_another_major_brand_is_read(major: bytes) -> None:
    avif = file_of("AVIF")
    assert np.array_equal(pixels_of(avif[:8] + major + avif[12:]), pixels_of(avif))


@pytest.mark.parametrize("tail", [b"junk" * 9, struct.pack(">I", 4000) + b"free"])
def test_bytes_behind_an_avif_change_nothing(tail: bytes) -> None:
    assert np.array_equal(pixels_of(file_of("AVIF") + tail), pixels_of(file_of("AVIF")))


@pytest.mark.parametrize("num_cut", [1, 5, 12, 16, 20])
def test_a_png_that_lacks_its_last_bytes_is_read(num_cut: int) -> None:
    pixels = pixels_of(file_of("PNG", compress_level=0)[:-num_cut])
    assert np.array_equal(pixels[:-1], RAMP[:-1])


@given(
    name=st.text("ABCDEFGHIJ", min_size=4, max_size=4) | st.sampled_from(["ICCP", "EXIF", "XMP "]),
    body=st.binary(max_size=60),
    is_first=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_unknown_chunks_never_change_a_webp(name: str, body: bytes, is_first: bool) -> None:
    webp = file_of("WEBP", lossless=True)
    chunk = name.encode() + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    chunks = chunk + webp[12:] if is_first else webp[12:] + chunk
    changed = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
    assert np.array_equal(pixels_of(changed), RAMP)


@pytest.mark.parametrize("num_cut", [1, 2, 5, 20])
def test_a_jpeg_that_lacks_its_last_bytes_is_read(num_cut: int) -> None:
    assert read_picture(file_of("JPEG")[:-num_cut]).size == (48, 32)


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    jpeg = file_of("JPEG", progressive=True)
    start = jpeg.index(b"\xff\xda")
    scan = jpeg[start : jpeg.index(b"\xff", start + 2)]
    with pytest.raises(ImageTooLarge, match="scans"):
        read_picture(jpeg[:-2] + 3000 * scan + jpeg[-2:])


def test_of_many_exif_segments_one_reaches_the_decoder() -> None:
    segment = b"\xff\xe1" + struct.pack(">H", 2 + 60_000) + b"Exif\0\0" + bytes(59_994)
    jpeg = file_of("JPEG")
    still = jpeg_segments.pixels_only(jpeg[:2] + 60 * segment + jpeg[2:])
    assert len(still.data) < len(jpeg) + 61_000


def test_the_frame_of_an_animated_webp_costs_what_a_still_costs() -> None:
    animation = file_of("WEBP", save_all=True, append_images=[Image.new("RGB", (48, 32))], lossless=True)
    assert b"ANMF" in animation
    assert np.array_equal(pixels_of(animation)[..., :3], RAMP)


def test_the_canvas_of_an_animated_webp_is_limited() -> None:
    animation = bytearray(file_of("WEBP", save_all=True, append_images=[Image.new("RGB", (48, 32))]))
    animation[24:30] = b"\xff\xff\0" * 2
    with pytest.raises(ImageTooLarge, match="65536 x 65536"):
        read_picture(bytes(animation))
