"""One file's bytes → one square RGB picture, as PNG, with a digest of its pixels.

Pure and safe to run in any process. It knows nothing of where the bytes come from, of labels,
or of the archive the picture goes into.
"""

import hashlib
import io
import struct
import warnings
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from training.curation import Curation

# What photographs come in (MPO counts as JPEG). Not every format that Pillow knows: some of
# those run other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
TAKE_ALL = Curation()
FEW_PIXELS = 2**22  # below, a picture may be as plain as it likes
MOST_PIXELS_A_BYTE = 100  # photographs have 1 to 40, well compressed ones too
SMALLEST_SHARE = 4  # a side less than a quarter of the resolution is too small to enlarge


class Picture(NamedTuple):
    """A decoded, resized picture on its way into the archive."""

    png: bytes
    pixel_digest: bytes  # sha256 of the RGB bytes, [H, W, 3] uint8
    upscaled: bool
    animated: bool  # and only its first frame was taken


class Decoded(NamedTuple):
    """A picture's upright centre square, RGB at the resolution asked for, and what it was."""

    image: Image.Image
    size: tuple[int, int]  # width and height of the upright whole, at least: see `load_picture`
    animated: bool


class UnusableError(ValueError):
    """A picture that can be decoded but would be silently wrong: the message says why."""


def encode_picture(data: bytes, resolution: int, curation: Curation = TAKE_ALL) -> Picture | str:
    """A file as a square PNG of that resolution, or the reason why there is none."""
    decoded = read_picture(data, resolution)
    if isinstance(decoded, str):
        return decoded
    image = decoded.image
    objection = curation.objection(np.asarray(image))
    if objection is not None:
        return objection
    digest = hashlib.sha256(image.tobytes()).digest()
    upscaled = min(decoded.size) < resolution
    return Picture(encode_png(image), digest, upscaled, decoded.animated)


def read_picture(data: bytes, resolution: int) -> Decoded | str:
    """A file decoded as by `load_picture`, or the reason why it cannot be."""
    if not data:
        return "an empty file"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no news, a decompression bomb is
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return load_picture(data, resolution)
    except UnidentifiedImageError:
        return "not a picture"
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return f"more than {(Image.MAX_IMAGE_PIXELS or 0) // 10**6} million pixels"
    except UnusableError as error:
        return str(error)
    except Exception as error:  # Pillow's decoders raise anything on damaged input
        return f"unreadable: {str(error) or type(error).__name__}"


def load_picture(data: bytes, resolution: int) -> Decoded:
    """Decodes to RGB [resolution, resolution].

    Upright by its EXIF orientation, transparent parts on white, centre square, the first frame of
    an animation. An integer factor is averaged exactly (box), any other is resampled by Lanczos.
    A JPEG may be decoded at a fraction of its size, never below four times the resolution, and
    its `size` is then that. Raises UnusableError, and what Pillow raises.
    """
    image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    pixels = image.width * image.height
    if pixels > max(FEW_PIXELS, MOST_PIXELS_A_BYTE * len(data)):
        raise UnusableError(f"{pixels} pixels in {len(data)} bytes are no photograph: a bomb")
    # An MPO's further frames are a phone's depth maps and the like: its first is the photograph.
    animated = image.format != "MPO" and getattr(image, "n_frames", 1) > 1
    # A JPEG decoded at a fraction of its size loses nothing while that leaves 4× what is needed.
    image.draft(None, (4 * resolution, 4 * resolution))
    ImageOps.exif_transpose(image, in_place=True)
    size, side = image.size, min(image.size)
    if side * SMALLEST_SHARE < resolution:
        raise UnusableError(f"too small: a side of {side} px cannot be enlarged to {resolution} px")
    image = _to_rgb(image)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = (left, top, left + side, top + side)
    if side % resolution == 0:
        return Decoded(image.reduce(side // resolution, box=square), size, animated)
    image = image.resize((resolution, resolution), Image.Resampling.LANCZOS, box=square)
    return Decoded(image, size, animated)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB of 8 bits. Raises UnusableError where it is unknown what is white."""
    if image.mode.startswith("I"):  # 16 bits of grey, which convert("RGB") would clip
        clear = image.info.get("transparency")
        values_HW = np.asarray(image.convert("I"))
        if values_HW.min() < 0 or values_HW.max() > 0xFFFF:
            raise UnusableError("grey values beyond 16 bits, whose white is not known")
        if isinstance(clear, int):
            values_HW = np.where(values_HW == clear, 0xFFFF, values_HW)
        grey = Image.fromarray(values_HW.astype(np.int32))
        image = grey.point(lambda value: value * (1 / 257)).convert("L")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode == "F":
        raise UnusableError("floating-point grey values, whose white is not known")
    return image if image.mode == "RGB" else image.convert("RGB")


def encode_png(image: Image.Image) -> bytes:
    """An RGB picture as PNG: lossless, at less than half of the time Pillow's encoder takes.

    One filter for all rows (Average, which suits photographs best) and Huffman coding alone:
    in filtered photographs, searching for repetitions finds next to none.
    """
    image_HWC = np.asarray(image)
    height, width, channels = image_HWC.shape
    row_HX = image_HWC.reshape(height, width * channels)
    neighbours_HX = np.zeros(row_HX.shape, np.uint16)
    neighbours_HX[:, channels:] += row_HX[:, :-channels]  # left
    neighbours_HX[1:] += row_HX[:-1]  # above
    neighbours_HX >>= 1
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    filtered[:, 0] = 3  # the filter's number: Average
    np.subtract(row_HX, neighbours_HX.astype(np.uint8), out=filtered[:, 1:])
    deflate = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_HUFFMAN_ONLY)
    pixels = deflate.compress(filtered.tobytes()) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB, not interlaced
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(kind))
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
