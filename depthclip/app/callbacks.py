"""The functions that the events of the page call."""

from html import escape
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import gradio as gr

from depthclip.app.downloads import write_files
from depthclip.app.showing import SIDE, Point, show_photo
from depthclip.app.studio import OpenedPhoto, Studio
from depthclip.app.wording import Wording, read_wording
from depthclip.data.images import SKIP
from depthclip.errors import InputError

SHOWN = 6  # outputs of `update` besides the status


class Callbacks:
    """The functions of the page. Photographs and words are passed with each call, so that tabs share none of them.

    Args:
        studio: the model.
        rooms: example images.
        fov: their field of view in degrees.
        folder: folder for files to download.
    """

    def __init__(self, studio: Studio, rooms: list[Path], fov: float, folder: Path) -> None:
        self.studio = studio
        self.rooms = rooms
        self.fov = fov
        self.folder = folder

    def open_file(self, path: str, readout: str, mirror: bool) -> tuple[Any, ...]:
        """Return the encoded photograph of an uploaded file, a picture of it, and no field of view, point and files."""
        photo = self.encode(path, readout, mirror)
        return photo, photo.rgb, None, None, None

    def open_room(self, readout: str, mirror: bool, event: gr.SelectData) -> tuple[Any, ...]:
        """Return the same of the chosen room, with its field of view, and no uploaded file."""
        photo = self.encode(self.rooms[int(event.index)], readout, mirror)
        return photo, photo.rgb, self.fov, None, None, None

    def open_first(self, readout: str, mirror: bool) -> tuple[Any, ...]:
        """Return the same of the first room."""
        photo = self.encode(self.rooms[0], readout, mirror)
        return photo, photo.rgb, self.fov, None, None

    def encode_again(self, photo: OpenedPhoto | None, readout: str, mirror: bool) -> tuple[Any, ...]:
        """Return the photograph encoded with another readout or another view, a picture of it, and no files."""
        if photo is None:
            return None, None, None
        photo = self.encode(photo.path, readout, mirror)
        gr.Info(f"{escape(photo.path.name)} was encoded again, which an edit of words does not need")
        return photo, photo.rgb, None

    def encode(self, path: str | Path, readout: str, mirror: bool) -> OpenedPhoto:
        """Return an encoded photograph.

        Raises:
            gr.Error: which the page shows, if the file cannot be read.
        """
        try:
            return self.studio.open(path, readout, mirror)
        except InputError as error:
            raise gr.Error(
                page_message(error, Path(path)), title="The photograph was refused", print_exception=False
            ) from error

    def update(
        self,
        photo: OpenedPhoto | None,
        lines: str,
        templates: str,
        temperature: float | None,
        fov: float | None,
        before: Wording,
        point: Point | None,
    ) -> tuple[Any, ...]:
        """Return the pictures and texts, and the status; if a value is refused, everything but the status stays."""
        if photo is None:
            return *(gr.skip() for _ in range(SHOWN)), ""
        try:
            wording = read_wording(lines, templates, temperature)
            shown = show_photo(self.studio, photo, wording, before, fov, point)
        except InputError as error:
            return *(gr.skip() for _ in range(SHOWN)), f'<p class="refused" role="alert">{escape(str(error))}</p>'
        height, width = photo.encoded.size
        notes = "".join(f'<p class="note">Note: {escape(note)}</p>' for note in shown.notes)
        status = f"<p>{escape(photo.path.name)}, {width} × {height} pixels, {len(wording.words)} words</p>{notes}"
        return *shown[:SHOWN], status

    def keep(self, lines: str, templates: str, temperature: float | None) -> Wording:
        """Return the present words, with which later ones are compared.

        Raises:
            gr.Error: if they cannot be read.
        """
        try:
            return read_wording(lines, templates, temperature)
        except InputError as error:
            raise gr.Error(escape(str(error)), title="The words were refused", print_exception=False) from error

    def restore(self) -> tuple[str, str, float]:
        """Return the words, templates and temperature of the recipe."""
        wording = self.studio.wording
        return wording.lines, "\n".join(wording.templates), wording.temperature

    def choose(self, photo: OpenedPhoto | None, event: gr.SelectData) -> Point | None:
        """Return the point of the map that was clicked."""
        if photo is None:
            return None
        height, width = photo.at_most(SIDE).size
        return (event.index[0] + 0.5) / width, (event.index[1] + 0.5) / height

    def write(
        self, photo: OpenedPhoto | None, lines: str, templates: str, temperature: float | None, fov: float | None
    ) -> list[str]:
        """Return the files to download; those of a room include the room, which the command in the recipe needs.

        Raises:
            gr.Error: if a value is refused.
        """
        if photo is None:
            raise gr.Error("there is no photograph; choose one", print_exception=False)
        try:
            wording = read_wording(lines, templates, temperature)
            files, missing = write_files(self.studio, photo, wording, fov, Path(mkdtemp(dir=self.folder)))
        except InputError as error:
            raise gr.Error(escape(str(error)), title="No files were written", print_exception=False) from error
        if missing:
            gr.Warning(escape(missing), title="No point cloud")
        return [str(file) for file in (*files, *(room for room in self.rooms if room == photo.path))]


def page_message(error: InputError, path: Path) -> str:
    """Return the message about a file without its folder on the server and without advice for the command line."""
    fault, _, ways = str(error).replace(str(path), path.name).rpartition("; ")
    if ways != (others := ways.removesuffix(f", or {SKIP}")):
        ways = ", or ".join(others.rsplit(", ", 1))
    return escape(f"{fault}; {ways}" if fault else ways)
