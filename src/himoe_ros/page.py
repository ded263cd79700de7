"""One HTML file that needs nothing else: how everything we show in a browser looks."""

from __future__ import annotations

import base64
import html
from pathlib import Path

import cv2

from .core.observation import Image

STYLE = Path(__file__).with_name("page.css")


def page(title: str, body: str) -> str:
    """A whole document; the title is its first heading, too."""
    head = f"<meta charset=utf-8><title>{escaped(title)}</title><style>{STYLE.read_text()}</style>"
    return f"<!doctype html><html lang=en>{head}<h1>{escaped(title)}</h1>{body}</html>\n"


def escaped(text: object) -> str:
    """Text as it may stand between tags and in attributes."""
    return html.escape(str(text), quote=True)


def picture(image: Image, quality: int = 80) -> str:
    """(H, W, 3) uint8 RGB -> an img element that carries it."""
    _, jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}">'
