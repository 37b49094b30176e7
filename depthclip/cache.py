"""A cache of the frozen tower's features of training images."""

import hashlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from depthclip.atomic import open_atomic
from depthclip.checkpoint import fingerprint
from depthclip.data.samples import DepthDataset
from depthclip.encoder.encoder import Encoder
from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.errors import InputError
from depthclip.protocol import View

Encode = Callable[[Tensor], ImageFeatures]
Kind = tuple[tuple[torch.Size, torch.dtype] | None, ...]


class FeatureCache:
    """Features by image, in memory or in a folder that later runs use again.

    In a folder, the key of an entry is made of the weights with their buffers, the readout with its state, the
    normalization, the precision, the View, the needs of the head, and the path, size and time of change of the image
    file, or the pixels of an image without files; if one of them differs, the features are computed again. Entries are
    mapped into memory when read. Every run encodes the first batch of each image size, which gives the shape and the
    data type that stored features must have; entries that are broken, not finite or unlike it are computed again.

    Args:
        where: `memory`, or the path of a folder, which is created.

    Raises:
        InputError: if the path cannot be a folder.
    """

    def __init__(self, where: str) -> None:
        self.folder = None if where == "memory" else folder_of(where)
        self.entries: dict[int, ImageFeatures] = {}
        self.kinds: dict[torch.Size, Kind] = {}
        self.samples: DepthDataset | None = None
        self.key = ""
        self.reported = False

    def open(self, encoder: Encoder, samples: DepthDataset, view: View, needs: Needs) -> None:
        """Start caching for a data set; entries in memory of another data set are dropped.

        Args:
            encoder: the frozen encoder that computes the features.
            samples: the images.
            view: part of the images that the model sees.
            needs: features to keep beside the dense ones.

        Raises:
            InputError: if the folder cannot be created, or the encoder has no settings that distinguish its features.
        """
        if self.folder is not None and not encoder.settings:
            raise InputError(
                f"cache {self.folder}: {type(encoder).__name__} does not define `settings`, by which features in a "
                "folder are recognized; define it, or set cache to memory"
            )
        settings = {k: described(v) if isinstance(v, nn.Module) else v for k, v in encoder.settings.items()}
        weights = (fingerprint(encoder.weights), digest_of(persistent_buffers(encoder.weights)))
        self.key = repr((encoder.name, weights, settings, view, needs))
        self.samples, self.entries, self.kinds, self.reported = samples, {}, {}, False
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"cache folder {self.folder} cannot be created ({error.strerror}); set another"
                ) from error

    def get(self, indices: list[int], images: Tensor, encode: Encode) -> ImageFeatures:
        """Return features of some images of the data set, in their order.

        Args:
            indices: indices of the images in the data set.
            images: (B, 3, H, W), the images.
            encode: function that computes the features of images.
        """
        size = images.shape[1:]
        if size not in self.kinds:
            self._compute(indices, images, encode)  # as a batch, whose features are exactly those without a cache
            self.kinds[size] = kind(self.entries[indices[0]])
        missing = [k for k, index in enumerate(indices) if not self._has(index, images[k], self.kinds[size])]
        if missing:
            self._compute([indices[k] for k in missing], images[missing], encode)
        entries = [self.entries[index] for index in indices]
        pooled = [entry.pooled for entry in entries if entry.pooled is not None]
        dense = torch.stack([entry.dense for entry in entries])
        layers = zip(*(entry.layers for entry in entries), strict=True)
        return ImageFeatures(
            dense.to(images.device),
            torch.stack(pooled).to(images.device) if pooled else None,
            tuple(torch.stack(maps).to(images.device) for maps in layers),
        )

    def _has(self, index: int, image: Tensor, expected: Kind) -> bool:
        if index not in self.entries and self.folder is not None:
            path = self._path(index, image)
            if not path.is_file():
                return False
            try:
                stored = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
                entry = ImageFeatures(stored["dense"], stored["pooled"], tuple(stored["layers"]))
                if kind(entry) != expected:
                    raise ValueError("they have another shape or data type")
                if not all(x.isfinite().all() for x in (entry.dense, entry.pooled, *entry.layers) if x is not None):
                    raise ValueError("they are not finite")
            except Exception as error:  # the features of a file with any damage can be computed again
                reason = (str(error) or type(error).__name__).splitlines()[0]
                warnings.warn(f"cached features {path} are computed again: {reason}", stacklevel=2)
                return False
            self.entries[index] = entry
        return index in self.entries

    def _compute(self, indices: list[int], images: Tensor, encode: Encode) -> None:
        fresh = encode(images)
        for place, index in enumerate(indices):
            # clones, or each entry would keep the whole batch alive
            pooled = None if fresh.pooled is None else fresh.pooled[place].cpu().clone()
            layers = tuple(layer[place].cpu().clone() for layer in fresh.layers)
            self.entries[index] = ImageFeatures(fresh.dense[place].cpu().clone(), pooled, layers)
            self._report(self.entries[index])
            if self.folder is not None:
                self._write(self._path(index, images[place]), self.entries[index])

    def _write(self, path: Path, entry: ImageFeatures) -> None:
        try:
            with open_atomic(path) as file:
                torch.save({"dense": entry.dense, "pooled": entry.pooled, "layers": list(entry.layers)}, file)
        except OSError as error:
            raise InputError(
                f"features cannot be written to the cache folder {path.parent} ({error.strerror}); free space, or set "
                "cache to another folder"
            ) from error

    def _report(self, entry: ImageFeatures) -> None:
        if not self.reported and self.samples is not None:
            kept = [x for x in (entry.dense, entry.pooled, *entry.layers) if x is not None]
            size = sum(x.numel() * x.element_size() for x in kept) * len(self.samples) / 2**20
            print(f"caching features of {len(self.samples)} images: {size:.0f} MiB in {self.folder or 'memory'}")
            self.reported = True

    def _path(self, index: int, image: Tensor) -> Path:
        assert self.samples is not None
        assert self.folder is not None
        stamps = [(str(f.absolute()), f.stat().st_size, f.stat().st_mtime_ns) for f in self.samples.files(index)]
        source = stamps or digest_of({"image": image})
        whole = f"{self.key}|{precision_on(image.device.type)}|{self.samples.name(index)}|{source}"
        return self.folder / f"{hashlib.sha256(whole.encode()).hexdigest()[:24]}.pt"


def folder_of(where: str) -> Path:
    """Return the path of a folder that exists or can be created.

    Raises:
        InputError: if the path is empty, malformed, or leads through a file.
    """
    try:
        folder = Path(where).expanduser()
        possible = bool(where.strip()) and next(path for path in (folder, *folder.parents) if path.exists()).is_dir()
    except (OSError, RuntimeError, ValueError, StopIteration):
        possible = False
    if not possible:
        raise InputError(f"cache {where!r} cannot be a folder; use `memory`, a folder, or null for no cache")
    return folder


def kind(entry: ImageFeatures) -> Kind:
    """Return the shapes and data types of features, to compare entries with."""
    return tuple(None if x is None else (x.shape, x.dtype) for x in (entry.dense, entry.pooled, *entry.layers))


def described(module: nn.Module) -> tuple[object, ...]:
    """Return what distinguishes a module from others: class, settings, structure, and a digest of its state."""
    settings = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    return type(module).__qualname__, settings, repr(module), state_digest(module)


def state_digest(module: nn.Module) -> str:
    """Return a digest of all parameters and buffers of a module."""
    return digest_of(dict((*module.named_parameters(), *module.named_buffers())))


def persistent_buffers(module: nn.Module) -> dict[str, Tensor]:
    """Return the buffers that the state dict of a module has, such as the statistics of batch normalization."""
    state = module.state_dict()
    return {name: buffer for name, buffer in module.named_buffers() if name in state}


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of the names, shapes, data types and values of tensors, in any memory format."""
    digest = hashlib.sha256()
    for name, value in tensors.items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().flatten().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def precision_on(device: str) -> torch.dtype | None:
    """Return the data type in which autocast computes on a type of device; None outside of autocast."""
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
