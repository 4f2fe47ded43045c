"""Trained detectors as files that other programs run, from images to landmarks."""

from mmlandmark.inference.export.description import describe
from mmlandmark.inference.export.exportable import ExportableDetector, ExportError, traced
from mmlandmark.inference.export.exporting import Exported, export_model
from mmlandmark.inference.export.formats import FORMATS, ExportFormat
from mmlandmark.inference.export.parity import Difference, answers, difference

__all__ = [
    "FORMATS",
    "Difference",
    "ExportError",
    "ExportFormat",
    "ExportableDetector",
    "Exported",
    "answers",
    "describe",
    "difference",
    "export_model",
    "traced",
]
