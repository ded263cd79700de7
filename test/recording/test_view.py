"""The page of a session: what is wrong is on it, and its videos play."""

from __future__ import annotations

import html.parser

import av
import pytest
from recording.test_frames import CONTRACT, LASTING, XARM7, record

from himoe_ros.core.errors import RecordingError
from himoe_ros.recording.reader import read_info
from himoe_ros.recording.view import view


class Page(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags = "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_a_page_shows_every_episode_with_its_faults_pictures_and_video(tmp_path):
    bags = [record(tmp_path / "good"), record(tmp_path / "gap", blind=(0.8, 1.3), task="<b>lift & place</b>")]
    page = view([read_info(bag) for bag in bags], CONTRACT, XARM7, tmp_path / "out")
    shown = Page(page.read_text())
    assert "2 episodes" in shown.text and "<b>lift & place</b>" in shown.text, "text is no markup"
    assert "a gap of 0.5" in shown.text
    pictures = [a for tag, a in shown.tags if tag == "img"]
    assert len(pictures) == 2 * 2 * 8 and all(a["src"].startswith("data:image/jpeg;base64,") for a in pictures)
    assert len([1 for tag, _ in shown.tags if tag == "polyline"]) == 2 * len(XARM7.joint_names)
    for _, a in [(tag, a) for tag, a in shown.tags if tag == "video"]:
        with av.open(str(page.parent / a["src"])) as container:
            seconds = sum(1 for _ in container.decode(video=0)) / float(container.streams.video[0].average_rate)
        assert seconds == pytest.approx(LASTING, rel=0.35)
    with pytest.raises(RecordingError, match="exists, and nothing is ever overwritten"):
        view([read_info(bags[0])], CONTRACT, XARM7, tmp_path / "out")
