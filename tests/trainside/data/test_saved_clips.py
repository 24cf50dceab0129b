"""What gesture-demo --save-clips writes is a data set."""

import numpy as np

from clipedge.jetson.camera import Frame
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.live import Step
from clipedge.jetson.outputs.clip_saver import ClipSaver
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.folder import read_catalog

SPEC = ClipSpec(model="tiny", labels=("Swipe left", "wave"), dataset="test", frames=4, size=16)


def test_kept_clips_are_read_as_a_folder_of_classes(tmp_path):
    image = np.zeros((48, 64, 3), np.uint8)
    with ClipSaver(tmp_path, SPEC, live=False) as saver:
        for number in range(300):
            event = None
            if number % 50 == 49:
                label = SPEC.labels[number // 50 % 2]
                event = GestureEvent(number / 30.0, label, 0.9, 5.0, frame=number)
            saver.add(Step(Frame(image, number / 30.0, number), None, event, None))
    catalog = read_catalog(tmp_path, "all")
    assert catalog.labels == SPEC.labels
    assert [recording.target for recording in catalog.recordings] == [0, 0, 0, 1, 1, 1]
