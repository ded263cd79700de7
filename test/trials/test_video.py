"""How a trial is filmed."""

from __future__ import annotations

import av
import numpy as np

from himoe_ros.trials.video import VideoWriter, compose


def test_a_video_keeps_time_and_shows_both_views(tmp_path):
    red, blue = np.zeros((2, 224, 224, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    frame = compose([red, blue], "Pick up the apple", "trial 1")
    assert frame.shape == (512, 896, 3)
    assert tuple(frame[300, 200]) == (255, 0, 0)
    assert tuple(frame[300, 700]) == (0, 0, 255)
    assert frame[:64].max() > 200, "the instruction stands above the views"
    writer = VideoWriter(tmp_path / "v.mp4", fps=10)
    for i in range(21):
        writer.add(frame, 50.0 + i * 0.1)
    writer.add(frame, 52.01)
    writer.close()
    with av.open(str(tmp_path / "v.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 21
        assert abs(video.duration / 1e6 - 2.1) < 0.11
