"""Predictions as XML of CVAT, format "CVAT for images 1.1"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from mmlandmark.inference.writers.base_writer import DECIMALS, BaseWriter, significant
from mmlandmark.registry import WRITERS
from mmlandmark.structures import LandmarkSchema, Prediction
from mmlandmark.utils.files import atomic_path
from mmlandmark.utils.xml_text import xml_attribute, xml_text


@WRITERS.register_module("cvat")
class CvatWriter(BaseWriter):
    """Writes an XML file that CVAT imports as "CVAT 1.1" into a task with the same images and labels.

    Every landmark is a shape ``points`` of one point, whose label is the landmark. CVAT counts from the
    corner of the image, so the centre of the first pixel is (0.5, 0.5). Landmarks that are not predicted are
    left out. ``score`` and ``reason`` are attributes; CVAT drops those that the task does not declare.
    """

    FILE_NAME = "cvat.xml"
    DIMS = (2,)

    def write_stream(self, predictions: Iterator[Prediction], schema: LandmarkSchema, path: Path) -> None:
        """Write one image after the other."""
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
            file.write("  <meta>\n    <task>\n      <labels>\n")
            for name in schema.landmarks:
                file.write(f"        <label><name>{xml_text(name)}</name><type>points</type></label>\n")
            file.write("      </labels>\n    </task>\n  </meta>\n")
            for number, one in enumerate(predictions):
                self._image(file, one, number)
            file.write("</annotations>\n")

    def _image(self, file: TextIO, one: Prediction, number: int) -> None:
        height, width = one.shape
        name = self.image_name(one) or one.sample_id
        file.write(f'  <image id="{number}" name={xml_attribute(name)} width="{width}" height="{height}">\n')
        for k in one.found.nonzero()[0]:
            x, y = (round(float(c) + 0.5, DECIMALS) for c in one.points[k])
            label = xml_attribute(one.schema.landmarks[k])
            file.write(f'    <points label={label} source="auto" occluded="0" points="{x},{y}" z_order="0">')
            score = significant(one.scores[k])
            given = dict(score="" if score is None else str(score), reason=one.reasons[k])
            for key, text in given.items():
                if text:
                    file.write(f'<attribute name="{key}">{xml_text(text)}</attribute>')
            file.write("</points>\n")
        file.write("  </image>\n")
