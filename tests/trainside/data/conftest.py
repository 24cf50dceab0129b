"""Small trees in the official layouts, of generated gestures and of real videos."""

import csv
import shutil

import numpy as np
import pytest

from clipedge.trainside.data.labels import JESTER_LABELS, dataset_labels
from clipedge.trainside.data.synthetic import SyntheticClips

REAL_GESTURES = (  # gestures_ivokersten's 0 to 4, as the nearest of Jester's
    "Shaking Hand",
    "Swiping Up",
    "Turning Hand Clockwise",
    "Turning Hand Counterclockwise",
    "No gesture",
)


def _generated(count, frames=16):
    """Clips (frames, 100, 100, 3) uint8, RGB, and their labels: five of Jester's."""
    clips = SyntheticClips(count, labels=REAL_GESTURES)
    return [(clips.clip(n, 100, frames), clips.labels[clips.target(n)]) for n in range(count)]


def _decoded(path, size, keep):
    """The frames (T, H, W, 3) uint8, RGB, whose numbers are in ``keep``, at (W, H) ``size``."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    frames = []
    for number in range(max(keep) + 1):
        read, frame = capture.read()
        if not read:
            break
        if number in keep:
            small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            frames.append(small[..., ::-1])
    capture.release()
    return np.stack(frames)


def _write_rows(path, rows, delimiter=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)


def write_jester(root, training, validation):
    """Write Jester's layout: each part is a list of (frames (T, H, W, 3) uint8 RGB, label)."""
    import cv2

    number = 1
    for part, recordings in (("train", training), ("validation", validation)):
        rows = []
        for frames, label in recordings:
            folder = root / "20bn-jester-v1" / str(number)
            folder.mkdir(parents=True)
            for at, frame in enumerate(frames, start=1):
                cv2.imwrite(str(folder / f"{at:05d}.jpg"), np.ascontiguousarray(frame[..., ::-1]))
            rows.append((number, label))
            number += 1
        _write_rows(root / f"jester-v1-{part}.csv", rows, ";")
    _write_rows(root / "jester-v1-test.csv", [(number,)], ";")
    # In the order of the file as it is unpacked, which is no alphabet's.
    _write_rows(root / "jester-v1-labels.csv", [(label,) for label in reversed(JESTER_LABELS)])
    return root


def write_ucf101(root, training, validation):
    """Write UCF-101's layout, the same lists for all splits: each part is (video, CLASS/NAME)."""
    labels = dataset_labels("ucf101")
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    rows = [f"{number} {label}" for number, label in enumerate(labels, start=1)]
    (lists / "classInd.txt").write_text("\r\n".join(rows) + "\r\n")
    for video, name in (*training, *validation):
        place = root / "UCF-101" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, place)
    for split in ("01", "02", "03"):
        rows = [f"{name} {labels.index(name.partition('/')[0]) + 1}\n" for _, name in training]
        (lists / f"trainlist{split}.txt").write_text("".join(rows))
        (lists / f"testlist{split}.txt").write_text("".join(f"{name}\n" for _, name in validation))
    return root


def write_kinetics600(root, training, validation):
    """Write Kinetics-600's layout: each part is a list of (video, label, youtube_id, start)."""
    for part, recordings in (("train", training), ("val", validation)):
        rows = [("label", "youtube_id", "time_start", "time_end", "split")]
        for video, label, name, start_s in recordings:
            place = root / part / label / f"{name}_{start_s:06d}_{start_s + 10:06d}.mp4"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(video, place)
            rows.append((label, name, start_s, start_s + 10, part))
        _write_rows(root / f"kinetics-600_{part}.csv", rows)
    return root


@pytest.fixture(scope="session")
def generated_jester(tmp_path_factory):
    """Jester's layout: 10 generated clips of 5 of the 27 classes for training, 5 held out."""
    clips = _generated(15)
    return write_jester(tmp_path_factory.mktemp("jester"), clips[:10], clips[10:])


@pytest.fixture(scope="session")
def real_jester(shared, tmp_path_factory):
    """Jester's layout of real gestures, 12 frames a second, 100 px high; 'Clear' is training."""
    videos = shared / "data" / "gestures_ivokersten" / "TestClips"
    if not videos.is_dir():
        pytest.skip(f"no real gestures at {videos}")
    keep = {round(number * 20 / 12) for number in range(30)}  # of 20 frames a second
    parts = [
        [
            (_decoded(videos / name / f"Test_Clip_{number}.avi", (178, 100), keep), label)
            for number, label in enumerate(REAL_GESTURES)
        ]
        for name in ("2m_Clear", "2m_Cluttered")
    ]
    return write_jester(tmp_path_factory.mktemp("real_jester"), *parts)


@pytest.fixture(scope="session")
def real_ucf101(shared, tmp_path_factory):
    """UCF-101's layout: its two videos of SoccerJuggling, and others as BandMarching."""
    videos = _action_clips(shared)
    training, validation = (videos / f"v_SoccerJuggling_g{group}_c01.avi" for group in (23, 24))
    others = sorted(videos.glob("*_wave_*.avi"))
    return write_ucf101(
        tmp_path_factory.mktemp("ucf101"),
        [
            (training, "SoccerJuggling/v_SoccerJuggling_g23_c01.avi"),
            (others[0], "BandMarching/v_BandMarching_g08_c01.avi"),
        ],
        [
            (validation, "SoccerJuggling/v_SoccerJuggling_g24_c01.avi"),
            (others[1], "BandMarching/v_BandMarching_g01_c01.avi"),
        ],
    )


@pytest.fixture(scope="session")
def real_kinetics600(shared, tmp_path_factory):
    """Kinetics-600's layout of three videos of Kinetics; the labels are stand-ins."""
    videos = sorted(_action_clips(shared).glob("*.mp4"))
    first, second, third = [(video, video.stem) for video in videos]
    return write_kinetics600(
        tmp_path_factory.mktemp("kinetics600"),
        [(first[0], "wrapping present", first[1], 5), (second[0], "abseiling", second[1], 12)],
        [(third[0], "abseiling", third[1], 100)],
    )


@pytest.fixture(scope="session")
def generated_videos(tmp_path_factory):
    """Four generated clips of different classes as video files: (.avi, .avi, .mp4, .mp4)."""
    import cv2

    folder = tmp_path_factory.mktemp("videos")
    paths = []
    for number, (frames, _) in enumerate(_generated(4)):
        suffix, codec = (".avi", "MJPG") if number < 2 else (".mp4", "mp4v")
        paths.append(folder / f"{number}{suffix}")
        size = (frames.shape[2], frames.shape[1])
        writer = cv2.VideoWriter(str(paths[-1]), cv2.VideoWriter.fourcc(*codec), 12.0, size)
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
        writer.release()
    return paths


@pytest.fixture(scope="session")
def generated_ucf101(generated_videos, tmp_path_factory):
    """UCF-101's layout of generated videos, one a class and part."""
    names = [
        (video, f"{label}/v_{label}_g{group}_c01.avi")
        for group in ("08", "01")
        for video, label in zip(generated_videos[:2], ("Archery", "Biking"), strict=True)
    ]
    return write_ucf101(tmp_path_factory.mktemp("ucf101"), names[:2], names[2:])


@pytest.fixture(scope="session")
def generated_kinetics600(generated_videos, tmp_path_factory):
    """Kinetics-600's layout of generated videos: two for training, one for validation."""
    first, second = generated_videos[2:]
    return write_kinetics600(
        tmp_path_factory.mktemp("kinetics600"),
        [(first, "wrapping present", "a-_b3456789", 0), (second, "abseiling", "--QUuC4vJs0", 84)],
        [(first, "abseiling", "xyzxyzxyzxy", 7)],
    )


def _action_clips(shared):
    folder = shared / "data" / "action_clips"
    if not folder.is_dir():
        pytest.skip(f"no real videos at {folder}")
    return folder
