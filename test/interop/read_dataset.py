"""lerobot reads what himoe export wrote (`make interop`, in an environment of lerobot's own)."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import lerobot.datasets.lerobot_dataset as module
import numpy as np
import torch


def decode(path, timestamps, tolerance_s, backend=None):
    """In place of lerobot's decoders, which need torchvision or torchcodec: PyAV."""
    pictures = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for t in timestamps:
            container.seek(max(0, round((t - tolerance_s) / stream.time_base)), stream=stream)
            frame = next(f for f in container.decode(stream) if f.time >= t - tolerance_s)
            assert abs(frame.time - t) < tolerance_s, (frame.time, t)
            pictures.append(torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1))
    return torch.stack(pictures).float() / 255


def coarse(picture: np.ndarray) -> np.ndarray:
    """Means of 8 x 8 pixels: the pictures are noise, which no codec keeps pixel by pixel."""
    return picture.reshape(6, 8, 8, 8, 3).mean((1, 3))


def main() -> None:
    folder = Path(sys.argv[1])
    wanted = np.load(folder / "wanted.npz")
    module.decode_video_frames = decode
    data = module.LeRobotDataset("himoe/interop", root=folder / "data", video_backend="pyav")
    assert len(data) == len(wanted["state"]) and data.num_episodes == len(wanted["tasks"])
    length = len(data) // data.num_episodes
    for i in range(len(data)):
        row = data[i]
        assert np.array_equal(row["observation.state"].numpy(), wanted["state"][i])
        assert np.array_equal(row["action"].numpy(), wanted["action"][i])
        assert row["task"] == wanted["tasks"][i // length]
        shown = coarse(row["observation.images.base"].permute(1, 2, 0).numpy() * 255)
        apart = [np.abs(shown - coarse(picture.astype(float))).mean() for picture in wanted["base"][:length]]
        assert int(np.argmin(apart)) == i % length, "each row shows the picture of its own moment"
    ahead = {"action": [k / data.fps for k in range(5)]}
    chunks = module.LeRobotDataset("himoe/interop", root=folder / "data", video_backend="pyav", delta_timestamps=ahead)
    assert np.array_equal(chunks[3]["action"].numpy(), wanted["action"][3:8])
    assert chunks[length - 1]["action_is_pad"].tolist() == [False, True, True, True, True]
    print(f"lerobot read {data.num_episodes} episodes, {len(data)} frames, {len(data.meta.tasks)} tasks as written")


if __name__ == "__main__":
    main()
