"""Files and bytes to uint8 arrays and back; grids and films.

A picture is uint8 of shape (H, W, C), pictures are (N, H, W, C), C = 1 (grey) or 3 (RGB). Pillow does the decoding; its global
limits stay as they are, ours are checked on each picture's header before a pixel is decoded.
"""

import base64
import io
import threading
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vae.errors import BadInput
from vae.files import written_folder, written_whole

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_BYTES = 30_000_000
MAX_URL_CHARACTERS = 1_000_000  # of a drawing
MAX_URL_PIXELS = 4_000_000
MAX_PIXELS = 30_000_000
JPEG_MORE = 2  # times as many: libjpeg decodes at a fraction of the size, so a phone's 50 megapixels are cheap
MIN_SIDE = 8
MAX_RATIO = 20
LOADED_SIDE = 2048  # what `load` gives back at most; no model here looks closer
# The largest picture takes 500 MB while it is decoded, and a server has many threads.
AT_ONCE = threading.BoundedSemaphore(2)

# Brands of ISO media files (bytes 8 to 12) that hold photographs which Pillow reads only with plugins, or not everywhere.
PHONE_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")


def load(source: str | Path | bytes, most: int = MAX_PIXELS) -> np.ndarray:
    """A file's path or its bytes -> (H, W, 3) uint8: RGB, upright, no alpha, first frame, longer side at most LOADED_SIDE.

    Transparency is laid on white, 16-bit and float pictures are scaled to 8 bits, EXIF turns are applied. Raises BadInput for
    whatever is no readable picture, and for one of more than `most` pixels (a JPEG may have twice as many), too small or too
    long: before it is decoded.
    """
    data = source if isinstance(source, bytes) else _read(Path(source))
    if len(data) > MAX_BYTES:
        raise BadInput(f"The picture has {len(data):,} bytes: at most {MAX_BYTES:,} are taken.")
    if data[4:8] == b"ftyp" and data[8:12] in PHONE_BRANDS:
        raise BadInput("This is a HEIC or AVIF picture, which cannot be read here: please save it as JPEG or PNG.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image, AT_ONCE:
            _check_header(image, most)
            return np.array(_upright_rgb(image))  # a copy, because Pillow's own buffer cannot be written to
    except BadInput:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadInput(f"The picture is far too large: at most {most:,} pixels are taken.") from error
    except UnidentifiedImageError as error:
        raise BadInput("This file is no picture that can be read: PNG, JPEG, WebP, GIF, BMP and TIFF can.") from error
    except MemoryError:
        raise
    except Exception as error:  # decoders of foreign bytes fail in a dozen ways; all of them mean the same to a visitor
        raise BadInput("The picture is broken or cut short: please save or send it again.") from error


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
    most *= JPEG_MORE if image.format in ("JPEG", "MPO") else 1
    if width * height > most:
        raise BadInput(f"The picture has {width:,} x {height:,} pixels: at most {most:,} in all are taken.")
    if min(width, height) < MIN_SIDE:
        raise BadInput(f"The picture has {width} x {height} pixels: each side needs at least {MIN_SIDE}.")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise BadInput(f"The picture has {width} x {height} pixels: a side may be at most {MAX_RATIO} times the other.")


def _upright_rgb(image: Image.Image) -> Image.Image:
    image.draft(None, (LOADED_SIDE, LOADED_SIDE))  # JPEG only: decode at a fraction, but no smaller than this
    image.load()
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        image = _eight_bits(image)
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = _shrunk(image.convert("RGBA"))
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image.getchannel("A"))
        return paper
    return _shrunk(image if image.mode in ("L", "RGB") else image.convert("RGB")).convert("RGB")


def _shrunk(image: Image.Image) -> Image.Image:
    if max(image.size) > LOADED_SIDE:
        image.thumbnail((LOADED_SIDE, LOADED_SIDE), Image.Resampling.LANCZOS)
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """Mode "I" or "F" -> "L". The range is guessed from the values: [0, 1], [0, 255], [0, 65535], else what is there."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low >= 0:
        ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
        low, high = 0.0, next((top for top in ranges if high <= top), high)
    grey = (values - low) * (255.0 / max(high - low, 1e-12))
    turned = Image.fromarray(np.round(grey).astype(np.uint8))
    turned.info.update({key: image.info[key] for key in ("exif",) if key in image.info})
    return turned


def square(picture: np.ndarray, size: int, channels: int) -> np.ndarray:
    """(H, W, C) -> (size, size, channels): the largest centred square, resized; grey is Rec. 601 luma."""
    image = as_image(picture).convert("L" if channels == 1 else "RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (size, size):
        box = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    return np.array(image).reshape(size, size, channels)


def shrunk(picture: np.ndarray, side: int) -> np.ndarray:
    """(H, W, C) -> the same, its longer side at most so many pixels."""
    image = as_image(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.array(image).reshape(image.height, image.width, -1)


# ---- pictures out ----


def grid(pictures: np.ndarray, columns: int | None = None, gap: int = 2) -> np.ndarray:
    """(N, H, W, C) -> (H', W', C): row after row on white; about as many rows as columns unless told."""
    pictures = _checked(pictures)
    count, height, width, channels = pictures.shape
    columns = min(count, columns or int(np.ceil(np.sqrt(count))))
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


# Options that keep the live picture quick and small.
ENCODINGS = {
    "png": {"compress_level": 3},
    "webp": {"quality": 88, "method": 0},
    "jpeg": {"quality": 95, "subsampling": 0},  # at 64 pixels webp, which halves the colours, shows its blocks
}


def encode(picture: np.ndarray, format: str = "png", scale: int = 1) -> bytes:
    """(H, W, C) -> the file's bytes, each pixel drawn as scale x scale."""
    if format not in ENCODINGS:
        raise BadInput(f"Pictures cannot be written as {format!r}: {', '.join(ENCODINGS)} are possible.")
    image = as_image(picture)
    if scale != 1:
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
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


def save_film(pictures: np.ndarray, path: str | Path, milliseconds: int = 60, scale: int | None = None) -> None:
    """(N, H, W, C) -> a GIF that plays there and back for ever; enlarged to about 256 pixels unless told."""
    pictures = _checked(pictures)
    scale = scale or max(1, round(256 / max(pictures.shape[1:3])))
    frames = [as_image(picture).convert("RGB") for picture in pictures]
    # One palette for all frames, taken from all of them and without dithering: nothing flickers and the file stays small.
    palette = as_image(grid(pictures, gap=0)).convert("RGB").quantize(128, Image.Quantize.MEDIANCUT)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    frames = [frame.resize((frame.width * scale, frame.height * scale), Image.Resampling.NEAREST) for frame in frames]
    frames += frames[-2:0:-1]
    with written_whole(Path(path)) as file:
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)


def save(pictures: np.ndarray, out: str | Path) -> None:
    """(N, H, W, C) -> OUT: a .npy of the array, a .png grid, a .gif film, else a new folder of 00000.png, 00001.png, ...

    Written beside OUT and then renamed, so that OUT is never there by half. Raises BadInput if OUT cannot be written, or is a
    folder that already holds something.
    """
    pictures, out = _checked(pictures), Path(out)
    if out.suffix == ".gif":
        save_film(pictures, out)
    elif out.suffix == ".npy":
        with written_whole(out) as file:
            np.save(file, pictures)
    elif out.suffix == ".png":
        with written_whole(out) as file:
            file.write(encode(grid(pictures)))
    elif out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise BadInput(f"{str(out)!r} already exists and is not an empty folder: please name a new one.")
    else:
        with written_folder(out) as folder:
            for index, picture in enumerate(pictures):
                (folder / f"{index:05d}.png").write_bytes(encode(picture))


def _checked(pictures: np.ndarray) -> np.ndarray:
    pictures = np.asarray(pictures)
    if pictures.ndim != 4 or pictures.dtype != np.uint8 or pictures.shape[3] not in (1, 3) or pictures.size == 0:
        raise BadInput(f"Pictures are uint8 (N, H, W, 1 or 3), N at least 1, not {pictures.dtype} {pictures.shape}.")
    return pictures


def as_image(picture: np.ndarray) -> Image.Image:
    """uint8 (H, W, C) -> Pillow's picture, mode L or RGB."""
    picture = _checked(np.asarray(picture)[None])[0]
    return Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
