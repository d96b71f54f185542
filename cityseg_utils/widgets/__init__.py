"""Interactive viewers for JupyterLab and Colab, each with a static twin for everywhere else.

>>> from cityseg_utils import widgets
>>> widgets.view(pairs, scheme=scheme)  # doctest: +SKIP
"""

from cityseg_utils.widgets.annotator import Annotator, annotate
from cityseg_utils.widgets.viewer import MaskViewer, view

__all__ = ["Annotator", "MaskViewer", "annotate", "view"]
