"""The one door for pictures: files and bytes to uint8 arrays and back; framings, grids, films.

A picture is uint8 of shape (H, W, C), pictures are (N, H, W, C), C = 1 (grey) or 3 (RGB). Pillow does the decoding; its global
limits stay as they are, ours are checked on each picture's header before a pixel is decoded.
"""

import base64
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vae.errors import BadInput

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_BYTES = 30_000_000
MAX_URL_CHARACTERS = 1_000_000  # of a drawing
MAX_PIXELS = 30_000_000
MAX_JPEG_PIXELS = 64_000_000  # libjpeg decodes at a fraction of the size, so a phone's 50 megapixels are cheap
MIN_SIDE = 8
MAX_RATIO = 20
LOADED_SIDE = 2048  # what `load` gives back at most; no model here looks closer

# Brands of ISO media files (bytes 8 to 12) that hold photographs which Pillow reads only with plugins, or not everywhere.
PHONE_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")


def load(source: str | Path | bytes) -> np.ndarray:
    """A file's path or its bytes -> (H, W, 3) uint8: RGB, upright, no alpha, first frame, longer side at most LOADED_SIDE.

    Transparency is laid on white, 16-bit and float pictures are scaled to 8 bits, EXIF turns are applied. Raises BadInput for
    whatever is no readable picture, and for one too large, too small or too long: before it is decoded.
    """
    data = source if isinstance(source, bytes) else _read(Path(source))
    if len(data) > MAX_BYTES:
        raise BadInput(f"The picture has {len(data):,} bytes: at most {MAX_BYTES:,} are taken.")
    if data[4:8] == b"ftyp" and data[8:12] in PHONE_BRANDS:
        raise BadInput("This is a HEIC or AVIF picture, which cannot be read here: please save it as JPEG or PNG.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image)
            return np.array(_upright_rgb(image))  # a copy, because Pillow's own buffer cannot be written to
    except BadInput:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadInput(f"The picture is far too large: at most {MAX_PIXELS:,} pixels are taken.") from error
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


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    most = MAX_JPEG_PIXELS if image.format in ("JPEG", "MPO") else MAX_PIXELS
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


# ---- framings: from any picture to the form a model was trained on ----


def square(picture: np.ndarray, size: int, channels: int) -> np.ndarray:
    """(H, W, C) -> (size, size, channels): the largest centred square, resized; grey is Rec. 601 luma."""
    image = _image(picture).convert("L" if channels == 1 else "RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (size, size):
        box = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    return np.array(image).reshape(size, size, channels)


def centred_shape(picture: np.ndarray, size: int = 28, box: int = 20, by_mass: bool = True) -> np.ndarray:
    """(H, W, C) -> (size, size, 1): the one shape in the picture, light on black, its longer side `box` pixels.

    by_mass=True is MNIST's recipe for strokes (LeCun et al. 1998, section III.A): uneven paper is taken away, the pen is brought
    to MNIST's width, the centre of mass stands at the centre. by_mass=False keeps the greys inside and centres the bounding
    box, as in Fashion-MNIST. Raises BadInput if the picture shows nothing.
    """
    shade = _stroke(_grey(picture)) if by_mass else _silhouette(_grey(picture))  # (H, W) in [0, 1], light on black
    # What is already small has its soft edge inside the box; of a large picture the edge lies where half of it is ink.
    is_small = max(picture.shape[:2]) < 2 * size
    shade = _cropped(shade, 0.03 if is_small else 0.3 if by_mass else 0.15)
    if by_mass:
        shade = _with_usual_pen(shade, box)
    height, width = (max(1, round(side * box / max(shade.shape))) for side in shade.shape)
    shape = np.clip(_resized(shade, width, height, Image.Resampling.LANCZOS), 0, 1)
    row, column = (size - height) / 2, (size - width) / 2
    if by_mass:
        mass = shape.sum()
        row = size / 2 - (shape.sum(1) @ np.arange(height)) / mass
        column = size / 2 - (shape.sum(0) @ np.arange(width)) / mass
    row, column = (int(np.clip(np.floor(at + 0.5), 0, size - side)) for at, side in ((row, height), (column, width)))
    frame = np.zeros((size, size, 1), np.uint8)
    frame[row : row + height, column : column + width, 0] = np.round(255 * shape)
    return frame


NOTHING = "The picture shows no shape: one dark shape on a light ground, or the other way round, is needed."
FAINTEST = 0.1  # contrast, relative to the ground, under which a picture counts as empty
WORKING_SIDE = 400  # pixels; fine enough for a pen, quick enough for a live page


def _grey(picture: np.ndarray) -> np.ndarray:
    image = _image(picture).convert("L")
    image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float32) / 255


def _resized(values: np.ndarray, width: int, height: int, how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((width, height), how))


def _cropped(shade: np.ndarray, least: float) -> np.ndarray:
    rows, columns = (np.flatnonzero((shade >= min(least, shade.max())).any(axis)) for axis in (1, 0))
    return shade[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _silhouette(grey: np.ndarray) -> np.ndarray:
    """The shape as it is, greys and all; the ground is what the four corners show."""
    patch = max(1, min(grey.shape) // 14)
    ground = float(np.median([grey[rows, columns] for rows in _ends(patch) for columns in _ends(patch)]))
    shade = np.clip(1 - grey / ground if ground > 0.5 else (grey - ground) / (1 - ground), 0, 1)
    if shade.max() < FAINTEST:
        raise BadInput(NOTHING)
    return np.where(shade < 0.03, 0, shade)


def _ends(count: int) -> tuple[slice, slice]:
    return slice(None, count), slice(-count, None)


def _stroke(grey: np.ndarray) -> np.ndarray:
    """The ink of a drawn or photographed stroke in [0, 1], soft edges kept; the ground, shadows and specks become 0."""
    from scipy import ndimage  # here, because it would slow down the page's start

    width = max(1, min(grey.shape) // 25)
    edge = np.concatenate([grey[rows].ravel() for rows in _ends(width)] + [grey[:, c].ravel() for c in _ends(width)])
    contrast = float(np.ptp(grey))
    if contrast < FAINTEST:
        raise BadInput(NOTHING)
    low, ground, high = np.percentile(edge, (4, 50, 96))
    is_even = high - low < 0.12 * contrast
    if is_even:
        is_dark_on_light = ground > (grey.min() + grey.max()) / 2
        paper = grey if is_dark_on_light else 1 - grey
        level = ground if is_dark_on_light else 1 - ground
    else:  # a photograph: the ground is what remains when everything thinner than a pen's stroke is closed
        grey = ndimage.gaussian_filter(grey, max(grey.shape) / 400)
        detail = grey - ndimage.gaussian_filter(grey, max(grey.shape) / 12)
        paper = grey if (detail**3).mean() < 0 else 1 - grey  # strokes are few and stand out to one side
        level = ndimage.grey_closing(paper, size=(max(grey.shape) // 5,) * 2, mode="nearest")
        level = ndimage.gaussian_filter(level, max(grey.shape) / 20)
    ink = np.clip(1 - paper / np.maximum(level, 0.05), 0, 1)
    if ink.max() < FAINTEST:
        raise BadInput(NOTHING)
    threshold = _otsu(ink)
    noise = 0.0 if high - low < 0.004 else 0.5 * threshold
    ink = np.clip((ink - noise) / (np.percentile(ink[ink > threshold], 80) - noise), 0, 1)
    return ink * _kept(ink > 0.4, is_photograph=not is_even)


def _otsu(values: np.ndarray) -> float:
    """The threshold that parts values in [0, 1] into two groups with the largest variance between them (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256, range=(0, 1))
    middles = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), counts.sum() - np.cumsum(counts)
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + np.nanargmax(between)])


def _kept(mask: np.ndarray, is_photograph: bool) -> np.ndarray:
    """(H, W) bool -> the same, grown a little, without specks; of a photograph also without what hangs on its edge,
    unless that is all there is.
    """
    from scipy import ndimage

    parts, count = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    if is_photograph:
        inner = sizes.copy()
        inner[np.unique(np.concatenate([parts[[0, -1]].ravel(), parts[:, [0, -1]].ravel()]))] = 0
        sizes = inner if inner.max() > 0.1 * sizes.max() else sizes
    keep = np.isin(parts, np.flatnonzero(sizes > 0.03 * sizes.max()))
    return ndimage.binary_dilation(keep, iterations=1 + max(mask.shape) // 60)


FINE = 8  # the pen is measured and changed at this many times the final size
# Pixels in the 20-pixel box: percentiles 1, 50 and 99 over MNIST, as `_pen_width` measures it.
USUAL_PEN = (1.6, 2.5, 4.8)


def _with_usual_pen(shade: np.ndarray, box: int) -> np.ndarray:
    """A stroke far thinner or thicker than MNIST's is grown or shrunk to its middle width; the others stay as they are."""
    from scipy import ndimage

    height, width = (max(FINE, round(side * box * FINE / max(shade.shape))) for side in shade.shape)
    shape = np.pad(_resized(shade, width, height, Image.Resampling.BICUBIC), 2 * FINE) > 0.5
    depth = ndimage.distance_transform_edt(shape)
    pen = _pen_width(depth)
    thinnest, usual, thickest = (side * FINE * box / 20 for side in USUAL_PEN)
    if thinnest <= pen <= thickest:
        return shade
    change = (usual - pen) / 2
    change = max(change, 1 - 0.8 * float(np.percentile(depth[shape], 90)))  # thinning must leave a line
    distance = depth - ndimage.distance_transform_edt(~shape)
    return _cropped(np.clip(distance + change + 0.5, 0, 1), 0.5)


def _pen_width(depth: np.ndarray) -> float:
    """(H, W) distance of each inner pixel to the edge -> the stroke's width: in a band the distances average a quarter of it."""
    return 4 * float(depth[depth > 0].mean())


def _framed(picture: np.ndarray, size: int, channels: int, box: int, by_mass: bool) -> np.ndarray:
    shape = centred_shape(picture, size, round(box * size / 28), by_mass)
    return np.repeat(shape, channels, axis=2)


FRAMINGS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "square": square,
    "digit": partial(_framed, box=20, by_mass=True),
    "garment": partial(_framed, box=28, by_mass=False),
}


def fit(picture: np.ndarray, framing: str, size: int, channels: int) -> np.ndarray:
    """(H, W, C) -> (size, size, channels), framed by the entry of FRAMINGS that the model's recipe names."""
    if framing not in FRAMINGS:
        raise BadInput(f"There is no framing {framing!r}: {', '.join(FRAMINGS)} are known.")
    return FRAMINGS[framing](picture, size, channels)


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
    image = _image(picture)
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
    return load(data)


def save_film(pictures: np.ndarray, path: str | Path, milliseconds: int = 60, scale: int | None = None) -> None:
    """(N, H, W, C) -> a GIF that plays there and back for ever; enlarged to about 256 pixels unless told."""
    pictures = _checked(pictures)
    scale = scale or max(1, round(256 / max(pictures.shape[1:3])))
    frames = [_image(picture).convert("RGB") for picture in pictures]
    # One palette for all frames, taken from all of them and without dithering: nothing flickers and the file stays small.
    palette = _image(grid(pictures, gap=0)).convert("RGB").quantize(128, Image.Quantize.MEDIANCUT)
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
    else:
        _save_folder(pictures, out)


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the name `path` when the block ends well, and vanishes when it does not."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise BadInput(f"{str(path)!r} cannot be written: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _save_folder(pictures: np.ndarray, out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{str(out)!r} already exists and is not an empty folder: please name a new one.")
    temporary = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        for index, picture in enumerate(pictures):
            (temporary / f"{index:05d}.png").write_bytes(encode(picture))
        temporary.chmod(0o755)
        if out.exists():
            out.rmdir()
        os.replace(temporary, out)
    except OSError as error:
        raise BadInput(f"{str(out)!r} cannot be written: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _checked(pictures: np.ndarray) -> np.ndarray:
    pictures = np.asarray(pictures)
    if pictures.ndim != 4 or pictures.dtype != np.uint8 or pictures.shape[3] not in (1, 3) or pictures.size == 0:
        raise BadInput(f"Pictures are uint8 (N, H, W, 1 or 3), N at least 1, not {pictures.dtype} {pictures.shape}.")
    return pictures


def _image(picture: np.ndarray) -> Image.Image:
    picture = _checked(np.asarray(picture)[None])[0]
    return Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
