"""A second opinion on breast pathology patches: DALAResNet50 and DT Grad-CAM. Research use only.

    from dala import explain, second_opinion

    opinion = second_opinion("patch.png")
    explanation = explain(opinion)

What is listed here is imported when it is first asked for: `import dala` itself costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dala.errors import DalaError
    from dala.intake.patch import Patch
    from dala.opinion import Explanation, Opinion, explain, second_opinion
    from dala.runtime.predict import load_model

__all__ = [
    "DalaError",
    "Explanation",
    "Opinion",
    "Patch",
    "__version__",
    "explain",
    "load_model",
    "second_opinion",
]
__version__ = "0.2.0"

if not TYPE_CHECKING:  # or every misspelt name would pass as one that is found at run time
    _HOMES = {
        "DalaError": "errors",
        "Explanation": "opinion",
        "Opinion": "opinion",
        "Patch": "intake.patch",
        "explain": "opinion",
        "load_model": "runtime.predict",
        "second_opinion": "opinion",
    }

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module 'dala' has no attribute {name!r}")
        return getattr(import_module(f"dala.{_HOMES[name]}"), name)

    def __dir__():
        return sorted({*globals(), *__all__})
