"""The command `python -m depthclip app`: serve the page on this machine."""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import TYPE_CHECKING

import torch
from PIL import Image

from depthclip.app.options import app_options
from depthclip.app.studio import Studio
from depthclip.data.rooms import VIEW, room
from depthclip.errors import InputError
from depthclip.module import DepthCLIP
from depthclip.signals import Ended

if TYPE_CHECKING:
    from gradio import Blocks

INSTALL = "pip install 'depthclip[app]'"
ROOMS = (3, 5, 2)  # of the test split
FOV = 70.0  # degrees
LOCAL = ("127.0.0.1", "localhost", "::1")


def app(args: Sequence[str]) -> None:
    """Serve the page until the process is interrupted.

    Args:
        args: arguments of the command line.

    Raises:
        InputError: if gradio is not installed, the recipe cannot be used, or the port is not free.
    """
    options = app_options(args)
    if importlib.util.find_spec("gradio") is None:
        raise InputError(f"app needs gradio, which is not installed; use {INSTALL}")
    print(f"reading the recipe {options.config} ...", flush=True)
    studio = Studio(DepthCLIP.from_recipe(options.config))
    with TemporaryDirectory(prefix="depthclip-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # uploads are removed when the server stops
        page = serve(studio, options.host, options.port, options.max_upload, Path(folder))
        reach = "only this machine" if options.host in LOCAL else "every machine of the network"
        print(f"the page is at {page.local_url} and {reach} can reach it; press Ctrl-C to stop", flush=True)
        try:
            Event().wait()
        except (KeyboardInterrupt, Ended):  # the usual end of a server
            print("stopped", flush=True)
        finally:
            page.close(verbose=False)


def serve(studio: Studio, host: str, port: int | None, max_upload: int, folder: Path) -> "Blocks":
    """Start the server in a thread and return the page, which has its `local_url`.

    Args:
        studio: the model.
        host: address to listen on.
        port: port; None for the first free one from 7860.
        max_upload: largest uploaded file in megabytes.
        folder: folder for rooms and downloads.

    Raises:
        InputError: if the port is not free or the address is not one of this machine.
    """
    from depthclip.app.page import CSS, THEME, build_page  # it needs gradio, an optional dependency

    page = build_page(studio, example_rooms(folder), FOV, folder)
    try:
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=max_upload * 1024 * 1024,
            state_session_capacity=100,
            ssr_mode=False,
            footer_links=[],
            theme=THEME,
            css=CSS,
        )
    except OSError as error:
        raise InputError(
            f"--port {port or 'from 7860'} is not free, or --host {host} is no address of this machine; choose another"
        ) from error
    return page


def example_rooms(folder: Path) -> list[Path]:
    """Draw the example rooms as BMP files, at the size on which the bundled CLIP was trained."""
    paths = []
    for number, index in enumerate(ROOMS, 1):
        pixels = VIEW.see(torch.from_numpy(room("test", index).rgb).permute(2, 0, 1))
        paths.append(folder / f"room-{number}.bmp")  # the depth map is room-N.png
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(paths[-1])
    return paths
