"""The package as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_importing_it_is_light():
    code = (
        "import sys, mmlandmark\n"
        "heavy = {'torch', 'mmengine', 'mmcv', 'numpy', 'cv2', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(mmlandmark.__version__)"
    )
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().count(".") == 2
