"""Readers of public data sets in the layout in which they are published."""

from mmlandmark.datasets.releases.aariz import Aariz
from mmlandmark.datasets.releases.afids import Afids
from mmlandmark.datasets.releases.cl_detection2023 import ClDetection2023
from mmlandmark.datasets.releases.coco_keypoints import CocoKeypoints
from mmlandmark.datasets.releases.cvat_images import CvatImages
from mmlandmark.datasets.releases.digital_hand_atlas import DigitalHandAtlas
from mmlandmark.datasets.releases.isbi2015_cephalogram import Isbi2015Cephalogram
from mmlandmark.datasets.releases.mandibular_molars import MandibularMolars
from mmlandmark.datasets.releases.nn_landmark import NnLandmark
from mmlandmark.datasets.releases.slicer_markups import SlicerMarkups
from mmlandmark.datasets.releases.spine_aasce2019 import SpineAasce2019
from mmlandmark.datasets.releases.tps_file import TpsFile

__all__ = [
    "Aariz",
    "Afids",
    "ClDetection2023",
    "CocoKeypoints",
    "CvatImages",
    "DigitalHandAtlas",
    "Isbi2015Cephalogram",
    "MandibularMolars",
    "NnLandmark",
    "SlicerMarkups",
    "SpineAasce2019",
    "TpsFile",
]
