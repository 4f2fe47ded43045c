"""Build and install mmlandmark."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithConfigs(build_py):
    """Put the configs inside the package of a wheel, where ``_base_ = 'mmlandmark::...'`` finds them."""

    def run(self) -> None:
        """Build, then copy the configs unless the install is editable and reads them in place."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "mmlandmark" / "configs"
            shutil.copytree(
                ROOT / "configs", target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )


setup(
    name="mmlandmark",
    version=re.search(r'__version__ = "(.+)"', (ROOT / "mmlandmark" / "version.py").read_text())[1],
    description="Anatomical landmark detection in medical images, on MMEngine",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["mmlandmark", "mmlandmark.*"]),
    package_data={"mmlandmark": ["py.typed", "structures/schemas/*.json"]},
    install_requires=["torch>=2.6", "numpy>=1.24", "scipy>=1.10", "matplotlib>=3.7", "opencv-python"],
    extras_require={
        # Apart, because mmcv, mmcv-lite and onedl-mmcv are one module under three names: whoever has one
        # of them must not get a second one on top.
        "lite": ["mmengine>=0.10.4", "mmcv-lite>=2.0"],
        "medical": ["pydicom", "SimpleITK", "nibabel"],
        "tensorboard": ["tensorboard"],
    },
    cmdclass={"build_py": BuildWithConfigs},
    zip_safe=False,
)
