"""mmlandmark: anatomical landmark detection in medical images, on MMEngine.

Importing the package is light. The rooms register themselves when a registry is first asked, see
:mod:`mmlandmark.registry`.
"""

from mmlandmark.version import __version__

__all__ = ["__version__"]
