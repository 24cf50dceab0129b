"""3D CNNs for clips: one architecture a file, built by name through one registry."""

# Importing an architecture's file enters it in the registry.
from clipedge.trainside.models import (  # noqa: F401
    i3d,
    mobilenetv1,
    mobilenetv2,
    resnet,
    resnext,
    shufflenetv1,
    shufflenetv2,
    squeezenet,
)
from clipedge.trainside.models.registry import (
    Architecture,
    ClipModel,
    ModelConfig,
    architecture,
    create_model,
    list_models,
    widths,
)

__all__ = [
    "Architecture",
    "ClipModel",
    "ModelConfig",
    "architecture",
    "create_model",
    "list_models",
    "widths",
]
