"""Files and bytes to uint8 arrays and back; grids and films.

A picture is uint8 of shape (H, W, C), pictures are (N, H, W, C), C = 1 (grey) or 3 (RGB). Pillow does the decoding; its global
limits stay as they are, ours are checked on each picture's header before a pixel is decoded.
"""

import base64
import contextlib
import io
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vae.errors import BadInput
from vae.storage.files import written_folder, written_whole

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
PHONE_BRANDS = (b"hei", b"hev", b"mif", b"msf", b"avi")  # what a telephone's HEIC or AVIF says in bytes 8 to 11
MAX_BYTES = 30_000_000
MAX_URL_CHARACTERS = 1_000_000  # of a drawing
MAX_URL_PIXELS = 4_000_000
MAX_PIXELS = 30_000_000
MIN_SIDE = 8
MAX_RATIO = 20
LOADED_SIDE = 2048  # what `load` gives back at most; no model here looks closer
# The largest picture takes 500 MB while it is decoded, and a server has many threads.
AT_ONCE = threading.BoundedSemaphore(2)


def load(source: str | Path | bytes, most: int = MAX_PIXELS) -> np.ndarray:
    """A file's path or its bytes -> (H, W, 3) uint8: RGB, upright, no alpha, first frame, longer side at most LOADED_SIDE.

    What a file is, its bytes say, not its name. Transparency is laid on white, greys of more than 8 bits are scaled to 8 by
    their own range, EXIF turns are applied. Raises BadInput for whatever is no readable picture, and for one of more than `most`
    pixels (a JPEG may have twice as many), too small or too long: before it is decoded.
    """
    data = source if isinstance(source, bytes) else _read(Path(source))
    if len(data) > MAX_BYTES:
        raise BadInput(f"The picture has {len(data):,} bytes: at most {MAX_BYTES:,} are taken.")
    formats = _phone_formats() if data[4:8] == b"ftyp" and data[8:11] in PHONE_BRANDS else FORMATS
    try:
        with Image.open(_Reader(data), formats=formats) as image, AT_ONCE:
            _check_header(image, most)
            return np.array(_upright_rgb(image))  # a copy, because Pillow's own buffer cannot be written to
    except (BadInput, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadInput(f"The picture is far too large: at most {most:,} pixels are taken.") from error
    except UnidentifiedImageError as error:
        if formats is FORMATS or "HEIF" in formats:
            raise BadInput("This file is no picture that can be read, such as PNG, JPEG, WebP or HEIC.") from error
        raise BadInput("HEIC needs pillow-heif (pip install pillow-heif); or save it as JPEG or PNG.") from error
    except Exception as error:  # decoders of foreign bytes fail in a dozen ways; all of them mean the same to a visitor
        raise BadInput("The picture is broken or cut short: please save or send it again.") from error


def _phone_formats() -> tuple[str, ...]:
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.init()
    return tuple(name for name in ("AVIF", "HEIF") if name in Image.OPEN)  # Pillow has the first from 11.3 on


class _Reader(io.BytesIO):
    """A file that can be read in so many steps only; the largest PNG in libpng's usual chunks takes 15,000.

    Pillow reads chunks, markers and tags one by one, and copies a GIF's comment for each of its blocks: a million take hours.
    """

    def __init__(self, data: bytes):
        super().__init__(data)
        self.left = 10_000 if data[:3] == b"GIF" else 100_000

    def read(self, *size: Any) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise BadInput("The picture's file is made of far too many small parts: please save it anew.")
        return super().read(*size)


def _read(path: Path) -> bytes:
    if not path.is_file():  # also refuses folders, pipes and devices, which might never end
        raise BadInput(f"There is no file {str(path)!r}.")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"The file {str(path)!r} cannot be read: {error.strerror}.") from error


def _check_header(image: Image.Image, most: int) -> None:
    width, height = image.size
    # libjpeg decodes at a fraction of the size, so a phone's 50 megapixels are cheap
    most *= 2 if image.format in ("JPEG", "MPO") else 1
    if width * height > most:
        raise BadInput(f"The picture has {width:,} x {height:,} pixels: at most {most:,} in all are taken.")
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_RATIO * min(width, height):
        sides = f"at least {MIN_SIDE}, and at most {MAX_RATIO} times the other"
        raise BadInput(f"The picture has {width} x {height} pixels: each side needs {sides}.")


def _upright_rgb(image: Image.Image) -> Image.Image:
    image.draft(None, (LOADED_SIDE, LOADED_SIDE))  # JPEG only: decode at a fraction, but no smaller than this
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image)
        image = paper
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    image.thumbnail((LOADED_SIDE, LOADED_SIDE), Image.Resampling.LANCZOS)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Mode "I;16", "I" or "F" -> "L", from the least range that holds all: [0, 1] of floats, 8, 10, 12, 16 bits, what is there.

    Cameras and microscopes put 10 or 12 bits into files of 16. Whoever means 16 bits and stays below 4096 has a picture whose
    lightest pixel is 15 of 255: black to the eye, so nothing is lost if it is lit. 8 bits made 16, all multiples of 257, stay.
    """
    values = np.asarray(image)
    if image.mode == "F":
        values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low >= 0:
        tops = (255, 1023, 4095, 65535) if (values % 257).any() else (65535,)
        low, high = 0.0, next((top for top in (1,) * (image.mode == "F") + tops if high <= top), high)
    grey = (values - np.float32(low)) * np.float32(255 / max(high - low, 1e-12))
    return Image.fromarray(np.round(grey, out=grey).astype(np.uint8))


def as_pictures(given: Any, ndim: int = 4) -> np.ndarray:
    """An array or tensor of uint8 (N, H, W, C) -> the array, C = 1 or 3; RGBA, C = 4, is laid on white.

    With ndim=3 it is one picture, (H, W, C) or (H, W). Raises BadInput for anything else, also floats: nobody can tell whether
    they end at 1 or at 255.
    """
    try:
        array = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    except (TypeError, ValueError) as error:
        raise BadInput("Pictures are arrays of uint8, 0 to 255; this is none.") from error
    array = array[..., None] if (array.ndim, ndim) == (2, 3) else array
    if array.dtype != np.uint8 or array.ndim != ndim or array.shape[-1] not in (1, 3, 4) or not array.size:
        form = "Pictures are uint8 (N, H, W, C)" if ndim == 4 else "A picture is uint8 (H, W, C) or (H, W)"
        raise BadInput(f"{form} of 0 to 255 with C = 1, 3 or 4, and not empty; this is {array.dtype} {array.shape}.")
    if array.shape[-1] < 4:
        return array
    alpha = array[..., 3:].astype(np.uint16)
    return ((array[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def as_image(picture: Any) -> Image.Image:
    """A picture as as_pictures takes it -> Pillow's, mode L or RGB."""
    picture = as_pictures(picture, ndim=3)
    return Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)


def square(picture: np.ndarray, size: int, channels: int) -> np.ndarray:
    """(H, W, C) -> (size, size, channels): the largest centred square, resized; grey is Rec. 601 luma."""
    image = as_image(picture).convert("L" if channels == 1 else "RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    image = image.resize((size, size), Image.Resampling.LANCZOS, box, reducing_gap=3.0)
    return np.array(image).reshape(size, size, channels)


def shrunk(picture: np.ndarray, side: int) -> np.ndarray:
    """(H, W, C) -> the same, its longer side at most so many pixels."""
    image = as_image(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.array(image).reshape(image.height, image.width, -1)


def grid(pictures: np.ndarray, gap: int = 2) -> np.ndarray:
    """(N, H, W, C) -> (H', W', C): row after row on white, about as many rows as columns."""
    pictures = as_pictures(pictures)
    count, height, width, channels = pictures.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    pads = ((0, rows * columns - count), (0, gap), (0, gap), (0, 0))
    tiles = np.pad(pictures, pads, constant_values=255).reshape(rows, columns, height + gap, width + gap, channels)
    sheet = tiles.swapaxes(1, 2).reshape(rows * (height + gap), columns * (width + gap), channels)
    return sheet[: len(sheet) - gap, : sheet.shape[1] - gap]


# Options that keep the live picture quick and small.
ENCODINGS: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 3},
    "webp": {"quality": 88, "method": 0},
    "jpeg": {"quality": 95, "subsampling": 0},  # at 64 pixels webp, which halves the colours, shows its blocks
}
GRIDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
FRAME_MS = 60  # of a film


def encode(picture: np.ndarray, format: str = "png") -> bytes:
    """(H, W, C) -> the file's bytes. BadInput for a format that is not in ENCODINGS, or that cannot hold so many pixels."""
    if format not in ENCODINGS:
        raise BadInput(f"Pictures cannot be written as {format!r}: {', '.join(ENCODINGS)} are possible.")
    image = as_image(picture)
    if max(image.size) > {"png": 2**31, "webp": 16383, "jpeg": 65500}[format]:
        raise BadInput(f"{image.width:,} x {image.height:,} pixels are too many for {format}: png can hold them.")
    file = io.BytesIO()
    image.save(file, format, **ENCODINGS[format])
    return file.getvalue()


def data_url(picture: np.ndarray, format: str = "jpeg") -> str:
    """(H, W, C) -> "data:image/...;base64,...", which an <img> shows as it is."""
    return f"data:image/{format};base64,{base64.b64encode(encode(picture, format)).decode('ascii')}"


def from_data_url(url: object) -> np.ndarray:
    """A PNG or JPEG data URL, as a browser's canvas gives it -> what load makes of it. BadInput for anything else."""
    head, _, body = url.partition(",") if isinstance(url, str) else ("", "", "")
    if head not in ("data:image/png;base64", "data:image/jpeg;base64") or len(body) > MAX_URL_CHARACTERS:
        raise BadInput(f"A drawing comes as a PNG or JPEG data URL of at most {MAX_URL_CHARACTERS:,} characters.")
    try:
        data = base64.b64decode(body, validate=True)
    except ValueError as error:
        raise BadInput("A drawing's data URL is cut short or damaged; please draw it again.") from error
    return load(data, MAX_URL_PIXELS)


def save_film(pictures: np.ndarray, path: str | Path) -> None:
    """(N, H, W, C) -> a GIF that plays there and back for ever, enlarged to about 256 pixels."""
    pictures = as_pictures(pictures)
    scale = max(1, round(256 / max(pictures.shape[1:3])))
    frames = [as_image(picture).convert("RGB") for picture in pictures]
    # One palette for all frames, taken from all of them and without dithering: nothing flickers and the file stays small.
    palette = as_image(grid(pictures, gap=0)).convert("RGB").quantize(128, Image.Quantize.MEDIANCUT)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    frames = [frame.resize((frame.width * scale, frame.height * scale), Image.Resampling.NEAREST) for frame in frames]
    frames += frames[-2:0:-1]
    with written_whole(Path(path)) as file:
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)


def save(pictures: np.ndarray, out: str | Path) -> None:
    """(N, H, W, C) -> OUT, by its ending in any case: a grid (GRIDS), a film (.gif), the array (.npy); none: a folder of PNGs.

    The folder, of 00000.png, 00001.png, ..., may have a dot in its name only where it is there already, and empty. Written
    beside OUT and then renamed, so that OUT is never there by half. Raises BadInput as check_out does, or if OUT cannot be
    written.
    """
    pictures, out = as_pictures(pictures), Path(out)
    check_out(out)
    ending = out.suffix.lower()
    if ending == ".gif":
        save_film(pictures, out)
    elif ending == ".npy" or ending in GRIDS:
        with written_whole(out) as file:
            np.save(file, pictures) if ending == ".npy" else file.write(encode(grid(pictures), GRIDS[ending]))
    else:
        with written_folder(out) as folder:
            for index, picture in enumerate(pictures):
                (folder / f"{index:05d}.png").write_bytes(encode(picture))


def check_out(out: Path) -> None:
    """BadInput for what `save` writes nothing as: an ending that it does not know, a folder that already holds something."""
    ending, is_folder = out.suffix.lower(), os.path.isdir(out)  # which a name of any length may be asked
    if ending in (*GRIDS, ".gif", ".npy"):
        return
    if ending and not is_folder:
        endings = f"{', '.join(GRIDS)}, .gif and .npy"
        raise BadInput(f"Nothing is written as {ending[:20]!r}: take {endings}, or a name without a dot for a folder.")
    if os.path.isfile(out) or (is_folder and any(out.iterdir())):
        raise BadInput(f"{str(out)!r} already exists and is not an empty folder: please name a new one.")
