"""Published figures: 'Resource Efficient 3D Convolutional Neural Networks', Kopuklu et al., 2019.

arXiv 1904.02422. They live in the lowest layer because the training side's summary and the board's
benchmark both print them. Every figure here is the paper's, never a measurement of this project.
"""

from typing import Dict, List, NamedTuple, Optional

BATCH_SIZE = 8  # of the speeds in Table 8, PyTorch, fp32
# Data sets with published accuracies, by the name that PublishedRow's fields begin with.
DATASETS: Dict[str, str] = {
    "jester": "20BN-Jester",
    "kinetics600": "Kinetics-600",
    "ucf101": "UCF-101",
}
CLASSES = 600  # Kinetics-600: the head whose parameters Table 8 counts


class LayerCounts(NamedTuple):
    """One column of Table 7."""

    layers: int
    nonlinearities: int
    skip_connections: int


class PublishedRow(NamedTuple):
    """One row of Table 8; accuracies are top-1 percentages, None where the paper has none."""

    model: str
    width: Optional[float]
    mflops: int
    params_millions: float
    titan_xp_clips_per_s: Optional[int]
    jetson_tx2_clips_per_s: Optional[int]
    kinetics600_top1_percent: float
    jester_top1_percent: Optional[float]
    ucf101_top1_percent: Optional[float]


TABLE_7: Dict[str, LayerCounts] = {
    "squeezenet": LayerCounts(18, 18, 4),
    "shufflenetv1": LayerCounts(50, 33, 16),
    "shufflenetv2": LayerCounts(51, 34, 16),
    "mobilenetv1": LayerCounts(28, 27, 0),
    "mobilenetv2": LayerCounts(53, 35, 10),
}

TABLE_8: List[PublishedRow] = [
    PublishedRow("shufflenetv1", 0.5, 78, 0.55, 398, 69, 35.51, 89.23, 64.39),
    PublishedRow("shufflenetv2", 0.25, 116, 0.83, 442, 82, 25.73, 86.91, 56.52),
    PublishedRow("mobilenetv1", 0.5, 98, 1.17, 290, 57, 31.74, 87.61, 62.17),
    PublishedRow("mobilenetv2", 0.2, 63, 0.96, 357, 42, 24.14, 86.43, 55.56),
    PublishedRow("shufflenetv1", 1.0, 199, 1.52, 269, 49, 45.31, 92.27, 76.0),
    PublishedRow("shufflenetv2", 1.0, 195, 1.91, 243, 44, 46.1, 91.96, 77.9),
    PublishedRow("mobilenetv1", 1.0, 241, 3.91, 164, 31, 40.07, 90.81, 70.95),
    PublishedRow("mobilenetv2", 0.45, 177, 1.4, 203, 19, 36.47, 90.21, 68.31),
    PublishedRow("shufflenetv1", 1.5, 347, 2.92, 204, 31, 52.75, 93.12, 81.73),
    PublishedRow("shufflenetv2", 1.5, 291, 3.16, 186, 34, 52.05, 93.16, 82.32),
    PublishedRow("mobilenetv1", 1.5, 429, 8.22, 116, 19, 48.24, 91.28, 76.0),
    PublishedRow("mobilenetv2", 0.7, 325, 2.05, 130, 13, 45.59, 93.34, 77.32),
    PublishedRow("shufflenetv1", 2.0, 538, 4.76, 161, 24, 56.84, 93.54, 84.96),
    PublishedRow("shufflenetv2", 2.0, 438, 6.64, 146, 26, 55.17, 93.71, 83.32),
    PublishedRow("mobilenetv1", 2.0, 662, 14.1, 88, 15, 48.53, 92.56, 76.18),
    PublishedRow("mobilenetv2", 1.0, 561, 3.12, 93, 9, 50.65, 94.59, 81.6),
    PublishedRow("squeezenet", None, 926, 2.15, 682, 46, 40.52, 90.77, 74.94),
    PublishedRow("resnet18", None, 8323, 33.36, 334, 17, 57.65, 93.34, 80.09),
    PublishedRow("resnet50", None, 9835, 44.54, 183, 11, 63.0, 93.7, 88.92),
    PublishedRow("resnet101", None, 13664, 83.58, 142, 8, 64.18, 94.1, 87.02),
    PublishedRow("resnext101", None, 9652, 48.75, 122, 7, 68.3, 94.89, 89.08),
    PublishedRow("i3d", None, 111331, 12.7, None, None, 71.9, None, None),
]


def published(model: str, width: Optional[float]) -> Optional[PublishedRow]:
    """Return the row of Table 8 for a model and width, or None where the paper has none."""
    for row in TABLE_8:
        if (row.model, row.width) == (model, width):
            return row
    return None
