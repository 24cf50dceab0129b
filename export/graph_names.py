"""Names of the graph forms; light, so that a command's --help can list them."""

CONV3D = "conv3d"  # as trained
CONV2D = "conv2d"
TENSORCORE = "tensorcore"
FORMS = (CONV3D, CONV2D, TENSORCORE)

AUTO = "auto"  # whichever is best

FORM_KEY = "clipedge.graph_form"  # in the ONNX file's metadata_props
SOURCE_KEY = "clipedge.source_sha256"  # in a rewritten file's: what it was made from
